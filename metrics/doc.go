// Package metrics shows what a worker does: a registry, and one HTTP listener
// for /metrics, /healthz and /readyz.
//
// Packages register what they count with the Registry that they are given.
// A scrape reads it; nothing flows back, so a scraper that is slow, hangs or
// asks too often changes nothing for records: requests in flight, their
// headers and their time are bounded. A collector that fails costs its own
// metrics, not the scrape.
//
// Health and readiness are different questions. /healthz says whether the
// process still makes progress and is a reason to end it; /readyz says whether
// it can take work (configuration loaded, lease table reachable). Sources and
// destinations are details of the answer: a partner that is down must never
// get a worker killed.
//
// [Recorder] and [Document] hold docs/metrics.md against what the code
// registers.
package metrics
