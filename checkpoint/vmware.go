package checkpoint

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The attributes of a checkpoint item of vmware-go-kcl and vmware-go-kcl-v2. All
// are text; they have neither counter, nor hash range, nor second parent.
const (
	vShardID      = "ShardID"
	vAssignedTo   = "AssignedTo"
	vLeaseTimeout = "LeaseTimeout" // RFC 3339, by the worker's own clock
	vCheckpoint   = "Checkpoint"   // number, SHARD_END, or nothing
	vParent       = "ParentShardId"
	vClaim        = "ClaimRequest"
)

// Imported says what becomes of one row of a vmware-go-kcl table, or of a shard
// that has none.
type Imported struct {
	Shard  string // empty: the row has no key that can be read
	Create *Lease // nil: nothing is created. Key and Stream are the caller's to fill in
	Why    string // where it begins and why, or why nothing is created
	Live   string // the worker that holds it, by its own time-out; empty: nobody
	Broken bool   // the row cannot be read
}

// VMwareImport is what ImportVMware needs.
type VMwareImport struct {
	Rows    []map[string]types.AttributeValue
	Shards  []Shard  // all that the stream lists
	Initial Position // where the application begins with a shard that it has never read
	// Completed: a number means that the whole record is done. Without it the
	// user records of an aggregated record may come again.
	Completed bool
	Now       time.Time // by the service's clock
}

// ImportVMware makes leases of the rows of a vmware-go-kcl table, ancestors
// first, and accounts for every row and every listed shard.
//
//   - a row of a shard that the stream does not list is ignored;
//   - a number is the position; SHARD_END is the end, and every child of the
//     shard gets a lease, since nothing else would make one;
//   - a row without a checkpoint begins at TRIM_HORIZON if its shard continues
//     another one that is listed or has a row (at the tip it would lose what
//     arrived since the split), else at the initial position;
//   - a merged shard waits for both parents, of which their workers looked at
//     one: the other one gets a lease too, when it has no row;
//   - any other shard without a row is left to the audit of the workers, which
//     knows when it is its turn.
func ImportVMware(in VMwareImport) []Imported {
	listed := map[string]Shard{}
	for _, s := range in.Shards {
		listed[s.ID] = s
	}
	var out []Imported
	rows := map[string]vmwareRow{}
	for _, it := range in.Rows {
		r := readVMware(it, in.Now)
		switch _, known := listed[r.shard]; {
		case r.wrong != "":
			out = append(out, Imported{Shard: r.shard, Why: r.wrong, Broken: true})
			if r.shard != "" {
				rows[r.shard] = r
			}
		case !known:
			out = append(out, Imported{Shard: r.shard, Live: r.live, Why: "ignored: the stream lists no such shard any more"})
		default:
			rows[r.shard] = r
		}
	}
	slices.SortFunc(out, func(a, b Imported) int { return cmp.Compare(a.Shard, b.Shard) })
	shards := slices.SortedFunc(slices.Values(in.Shards), func(a, b Shard) int {
		return cmp.Or(compareDigits(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
	})
	for _, s := range shards {
		r, has := rows[s.ID]
		switch {
		case has && r.wrong != "": // told above
		case has:
			out = append(out, in.row(s, r, rows, listed))
		default:
			out = append(out, in.withoutRow(s, rows, listed))
		}
	}
	return out
}

// row is what becomes of a listed shard's row.
func (in VMwareImport) row(s Shard, r vmwareRow, rows map[string]vmwareRow, listed map[string]Shard) Imported {
	i := Imported{Shard: s.ID, Live: r.live}
	var at Position
	switch {
	case r.checkpoint == shardEnd:
		at, i.Why = ShardEnd, "read to its end"
	case r.checkpoint != "" && in.Completed:
		at, i.Why = Number(r.checkpoint, math.MaxInt64), "read up to this record, and all that it aggregates"
	case r.checkpoint != "":
		at, i.Why = Number(r.checkpoint, 0), "read up to this record"
	default:
		at, i.Why = in.start(s, rows, listed)
	}
	if unfinished := unfinished(s, rows, listed); at != ShardEnd && len(unfinished) > 0 {
		i.Why += "; it is read on when " + strings.Join(unfinished, " and ") + " is at its end"
	}
	i.Create = lease(s, at)
	if at == ShardEnd {
		for _, c := range listed {
			if slices.Contains(c.Parents, s.ID) {
				i.Create.Children = append(i.Create.Children, c.ID)
			}
		}
		slices.Sort(i.Create.Children)
	}
	return i
}

// start is where a shard begins that was never read.
func (in VMwareImport) start(s Shard, rows map[string]vmwareRow, listed map[string]Shard) (Position, string) {
	for _, p := range s.Parents {
		_, isListed := listed[p]
		if _, hasRow := rows[p]; isListed || hasRow {
			return TrimHorizon, "never read, and it continues " + p + ": all of it"
		}
	}
	return in.Initial, "never read, and it continues no shard that is left: where the source begins"
}

// withoutRow is what becomes of a listed shard that has no row.
func (in VMwareImport) withoutRow(s Shard, rows map[string]vmwareRow, listed map[string]Shard) Imported {
	i := Imported{Shard: s.ID}
	var ended []string
	for _, p := range s.Parents {
		if rows[p].checkpoint == shardEnd {
			ended = append(ended, p)
		}
	}
	if len(ended) > 0 {
		i.Create = lease(s, TrimHorizon)
		i.Why = "no row, and it continues " + strings.Join(ended, " and ") + ", read to the end: all of it"
		if unfinished := unfinished(s, rows, listed); len(unfinished) > 0 {
			i.Why += "; it is read when " + strings.Join(unfinished, " and ") + " is at its end, too"
		}
		return i
	}
	if child := mergedWithEnded(s, rows, listed); child != "" {
		at, why := in.start(s, rows, listed)
		i.Create, i.Why = lease(s, at), "no row, and "+child+", which continues it and a shard that was read to its end, waits for it; "+why
		return i
	}
	i.Why = "no row: left to the workers' audit"
	for _, c := range in.Shards {
		if _, has := rows[c.ID]; has && slices.Contains(c.Parents, s.ID) {
			i.Why = "no row, and " + c.ID + ", which continues it, has one: taken as read to its end"
		}
	}
	return i
}

// mergedWithEnded is the child without a row that a shard without a row has
// together with one that was read to its end; empty: there is none.
func mergedWithEnded(s Shard, rows map[string]vmwareRow, listed map[string]Shard) string {
	for _, id := range slices.Sorted(maps.Keys(listed)) {
		c := listed[id]
		_, has := rows[id]
		if !has && slices.Contains(c.Parents, s.ID) && slices.ContainsFunc(c.Parents, func(p string) bool { return rows[p].checkpoint == shardEnd }) {
			return id
		}
	}
	return ""
}

// unfinished are the parents of a shard that get leases and are still to be read.
func unfinished(s Shard, rows map[string]vmwareRow, listed map[string]Shard) []string {
	var names []string
	for _, p := range s.Parents {
		parent, isListed := listed[p]
		r, has := rows[p]
		if isListed && r.checkpoint != shardEnd && (has || mergedWithEnded(parent, rows, listed) != "") {
			names = append(names, p)
		}
	}
	return names
}

func lease(s Shard, at Position) *Lease {
	l := Lease{Shard: s.ID, Saved: Saved{Checkpoint: at}, Parents: s.Parents, HashFrom: s.HashFrom, HashTo: s.HashTo}.Clone()
	return &l
}

// vmwareRow is a row as it can be read.
type vmwareRow struct {
	shard, checkpoint string
	live              string
	wrong             string
}

func readVMware(it item, now time.Time) vmwareRow {
	r := vmwareRow{shard: text(it, vShardID), checkpoint: text(it, vCheckpoint)}
	for _, a := range []string{vShardID, vAssignedTo, vLeaseTimeout, vCheckpoint, vParent, vClaim} {
		if _, isText := it[a].(*types.AttributeValueMemberS); it[a] != nil && !isText {
			r.wrong = fmt.Sprintf("attribute %s is no text", a)
			return r
		}
	}
	if r.shard == "" {
		r.wrong = "attribute ShardID is missing"
		return r
	}
	if r.checkpoint != "" && r.checkpoint != shardEnd && !digits(r.checkpoint) {
		r.wrong = fmt.Sprintf("attribute Checkpoint: %q is neither a sequence number nor SHARD_END", r.checkpoint)
		return r
	}
	worker, timeout := text(it, vAssignedTo), text(it, vLeaseTimeout)
	if worker == "" || timeout == "" {
		return r
	}
	until, err := time.Parse(time.RFC3339Nano, timeout)
	if err != nil {
		r.wrong = fmt.Sprintf("attribute LeaseTimeout: %q is no RFC 3339 time", timeout)
		return r
	}
	if until.After(now) {
		r.live = worker
	}
	return r
}
