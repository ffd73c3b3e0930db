package oee

import "time"

// SideKind is why an event is not in the figures, or not as it says.
type SideKind uint8

const (
	SideLate     SideKind = iota // older than its machine's lateness allows: not in the figures
	SideMachine                  // of a machine that no line has (in the figures), or of one too many (not)
	SideState                    // its raw state is not mapped: counted as unknown
	SideClock                    // its time is far from its arrival: not in the figures
	SideShards                   // its machine was also seen on another shard: its order is not certain
	SideCounter                  // a cumulative counter dropped: a reset or a rollover
	SideAbsurd                   // more units at once than can be: not in the figures
	SideOverfull                 // more changes of state or products in an hour than are kept
	SideForced                   // taken before its time, since too many wait

	sides
)

func (k SideKind) String() string {
	return [...]string{"late", "unknown_machine", "unmapped_state", "clock", "several_shards", "counter_drop", "absurd_units", "overfull", "forced"}[k]
}

// SideKinds are all kinds.
func SideKinds() []SideKind {
	kinds := make([]SideKind, sides)
	for i := range kinds {
		kinds[i] = SideKind(i)
	}
	return kinds
}

// Samples is how many of the latest events of a kind are kept to be looked at.
const Samples = 20

// Sample is an event of a side output.
type Sample struct {
	Event Event
	Note  string // what was found, and what to do about it
}

// SideOutput is how many events there were of a kind, and some of them.
type SideOutput struct {
	Count   int64
	Samples []Sample // oldest first, Samples at most
	Last    time.Time
}
