package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// settings are what a test wants of a configuration; the zero value is a
// worker that reads all streams of the scene for all its receivers.
type settings struct {
	failover     time.Duration // 0: 1 s, the least
	drain        time.Duration // 0: 10 s
	leases       string        // more fields of leases
	window       string
	key          string // of every source; empty: partition_key
	initial      string // of every source; empty: trim_horizon
	sources      []sourceSettings
	destinations []destinationSettings
	delivery     string // more fields of delivery
	path         string // of the dead letters
	queue        string // one more dead letter queue
}

type sourceSettings struct {
	stream      *stream
	externalID  string // empty: the right one
	subscribers string // empty: all_destinations
	more        string // more fields
}

type destinationSettings struct {
	*receiver
	name string // empty: the receiver's
	more string // more fields
}

// config writes a configuration file and returns its path.
func (s *scene) config(c settings) string {
	s.t.Helper()
	if c.sources == nil {
		for _, st := range s.streams {
			c.sources = append(c.sources, sourceSettings{stream: st})
		}
	}
	if c.destinations == nil {
		for _, r := range s.receivers {
			c.destinations = append(c.destinations, destinationSettings{receiver: r})
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `application: %s
worker_id: ${TEST_WORKER}
region: %s
leases: {failover: %s%s}
pipeline: {drain_timeout: %s, window: %s}
listen: {metrics: "127.0.0.1:0", api: "127.0.0.1:0"}
sources:
`, application, testRegion, cmp.Or(c.failover, time.Second), more(c.leases), cmp.Or(c.drain, 10*time.Second), cmp.Or(c.window, "64MiB"))
	for _, src := range c.sources {
		fmt.Fprintf(&b, "  - {name: %s, stream: %q, role: {arn: %q, external_id: %q}, initial_position: %s, poll_interval: 200ms, key: %s, subscribers: %s, dead_letters: failed%s}\n",
			src.stream.name, src.stream.arn, src.stream.role, cmp.Or(src.externalID, testExternalID), cmp.Or(c.initial, "trim_horizon"),
			cmp.Or(c.key, "partition_key"), cmp.Or(src.subscribers, "all_destinations"), more(src.more))
	}
	if !strings.Contains(c.delivery, "retry:") {
		c.delivery = "retry: {initial: 20ms, max: 200ms}, breaker: {open_for: 100ms}" + more(c.delivery)
	}
	fmt.Fprintf(&b, "delivery: {%s}\ndestinations:\n", c.delivery)
	for _, d := range c.destinations {
		dead := ", dead_letters: failed"
		if strings.Contains(d.more, "dead_letters:") {
			dead = ""
		}
		fmt.Fprintf(&b, "  - {name: %s, type: http, url: %q, headers: {X-Worker: \"${TEST_WORKER}\"}%s%s}\n",
			cmp.Or(d.name, d.receiver.name), d.url, dead, more(d.more))
	}
	fmt.Fprintf(&b, "dead_letter_queues:\n  - {name: failed, type: file, path: %q}\n", cmp.Or(c.path, s.deadLetterFile()))
	if c.queue != "" {
		fmt.Fprintf(&b, "  - %s\n", c.queue)
	}
	f, err := os.CreateTemp(s.dir, "config-*.yaml")
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(b.String()); err != nil {
		s.t.Fatal(err)
	}
	return filepath.Clean(f.Name())
}

func more(fields string) string {
	if fields == "" {
		return ""
	}
	return ", " + fields
}
