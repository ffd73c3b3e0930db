package oee

import "time"

// Interval is a stretch of a machine's time line: one state, for one reason,
// planned or not. Start is in it, End is not.
type Interval struct {
	Start, End time.Time
	Class      Class
	State      string // raw; empty: never said, or of a downtime row
	Reason     string // empty: not said
	Planned    bool   // in planned time; a planned stop and a break are not
	Silent     bool   // unknown because the machine was silent for too long
	Micro      bool   // a stop that is short enough to be performance loss
}
