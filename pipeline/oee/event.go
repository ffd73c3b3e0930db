package oee

import (
	"cmp"
	"time"
)

// Event is what a machine said at one instant. Everything but Machine and Time
// may be missing.
type Event struct {
	Machine string
	Time    time.Time
	// Arrival is when its record came into the stream, by the stream's clock:
	// event times are held against it. Zero: not known, nothing is held.
	Arrival time.Time

	State   string // raw, as the machine says it; empty: not said
	Reason  string // of the state; empty: not said
	Product string // empty: the one before, or what the schedule says

	// As the machine counts: what was made since its last event, or ever
	// (Config.Counters).
	Total, Good, Rejected Reading

	// ID is the producer's own name for the event, if it gives one: of two events
	// of a machine with one ID and one time the second is a retry. Without it, two
	// events of one time that say the same are one (Config.Duplicates).
	ID string

	// Position is where it stands in its stream. Index grows with the positions
	// of one shard as long as a View lives (an index of the shard log): what of a
	// shard still waits is told by it (View.Oldest).
	Position Position
	Index    uint64
}

// Reading is a number of units that an event or a row may lack.
type Reading struct {
	Units Units
	Valid bool
}

// Read is a Reading that is there.
func Read(u Units) Reading { return Reading{Units: u, Valid: true} }

// Position is the place of an event or a row change: its shard, the sequence
// number of its record there, and which of the record's user records and of
// their items it is.
type Position struct {
	Shard    string // unique in the view: source and shard
	Sequence string // decimal
	Sub      int64
	Item     int32
}

// Compare orders positions by sequence number, sub-sequence number and item.
// A key's sequence numbers grow over reshards too, so that shards do not
// matter. The empty position is before all others.
func (p Position) Compare(q Position) int {
	return cmp.Or(
		cmp.Compare(len(p.Sequence), len(q.Sequence)),
		cmp.Compare(p.Sequence, q.Sequence),
		cmp.Compare(p.Sub, q.Sub),
		cmp.Compare(p.Item, q.Item),
	)
}

// RowKind is what a table's rows say.
type RowKind uint8

const (
	Schedule   RowKind = iota + 1 // planned from Start to End, for Product
	IdealRate                     // Rate of Product on Machine from Start to End
	Quality                       // Good and Rejected units of an inspection at Time
	Production                    // Total, Good, Rejected units made at Time
	Downtime                      // stopped from Start to End for Reason
)

func (k RowKind) String() string {
	switch k {
	case Schedule:
		return "schedule"
	case IdealRate:
		return "ideal_rate"
	case Quality:
		return "quality"
	case Production:
		return "production"
	case Downtime:
		return "downtime"
	default:
		return "unknown"
	}
}

// Row is the latest form of a row of a table, or that it is gone. A row
// replaces the one of the same table and key whose position is before its own;
// one that is not later changes nothing.
type Row struct {
	Kind     RowKind
	Table    string // schema and table: mes.schedule
	Key      string // the primary key, its columns joined
	Position Position
	Delete   bool // the row is gone: only Kind, Table, Key and Position count

	Machine string // of an ideal rate: empty for any
	Product string // of an ideal rate: empty for any
	Reason  string

	Time       time.Time // Quality, Production
	Start, End time.Time // Schedule, IdealRate, Downtime; a zero End of a schedule: until the machine's next one starts; of the others: still so; a zero Start of a rate: ever since

	Total, Good, Rejected Reading
	Rate                  Rate // IdealRate
}

// Rate is Units per Per: 208.33 units a minute, or one unit in 45 s. It is a
// fraction so that both are exact.
type Rate struct {
	Units Units
	Per   time.Duration
}

// PerMinute is a rate of u units a minute.
func PerMinute(u Units) Rate { return Rate{Units: u, Per: time.Minute} }

// Cycle is a rate of one unit in d.
func Cycle(d time.Duration) Rate { return Rate{Units: Unit, Per: d} }

// Valid says whether it is a rate that time can be computed with.
func (r Rate) Valid() bool { return r.Units > 0 && r.Per > 0 }
