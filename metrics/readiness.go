package metrics

import "time"

// Readiness is the answer of /readyz. Ready alone decides between 200 and 503:
// the configuration is loaded and the lease table can be reached. Everything
// else is for the reader.
type Readiness struct {
	Ready        bool               `json:"ready"`
	Reason       string             `json:"reason,omitempty"` // why not ready
	Leases       LeaseState         `json:"leases"`
	Sources      []SourceState      `json:"sources"`
	Destinations []DestinationState `json:"destinations"`
}

// LeaseState is what this worker knows of the lease table.
type LeaseState struct {
	Table string    `json:"table,omitempty"`
	Held  int       `json:"held"`           // leases that this worker owns
	Since time.Time `json:"since,omitzero"` // last time the table answered
}

// SourceState is one source as this worker sees it.
type SourceState struct {
	Name   string    `json:"name"`
	State  string    `json:"state"`            // a word of the caller's, such as "reading" or "retrying"
	Reason string    `json:"reason,omitempty"` // why it is not reading
	Since  time.Time `json:"since,omitzero"`   // when State began
	Shards int       `json:"shards"`           // shards that this worker reads
}

// DestinationState is one destination as this worker sees it.
type DestinationState struct {
	Name                   string    `json:"name"`
	Held                   bool      `json:"held"`
	Reason                 string    `json:"reason,omitempty"` // why it is held
	Since                  time.Time `json:"since,omitzero"`   // when the hold began
	InFlight               int       `json:"in_flight"`        // attempts
	OldestUnsettledSeconds float64   `json:"oldest_unsettled_seconds"`
}
