package oee

import "time"

// Alert is one notice: that something has lasted too long or fallen short, or
// that it is over.
type Alert struct {
	// ID names the episode: an alert that comes again after a crash, and its
	// recovery, have the same.
	ID        string
	View      string
	Name      string // of the AlertConfig
	When      AlertKind
	Machine   string
	Recovered bool
	Since     time.Time // when the episode began
	At        time.Time // when the threshold was passed, or it was over
	State     string    // raw
	Reason    string

	// Of WhenBelowTarget.
	Window      Window
	OEE, Target float64
}
