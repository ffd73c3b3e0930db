package checkpoint

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
)

// streamFindings are what is wrong between the leases of one stream.
func streamFindings(table, stream string, rows []Row) []Finding {
	byShard := make(map[string]Row, len(rows))
	for _, row := range rows {
		byShard[row.Shard] = row
	}
	var found []Finding
	for _, row := range rows {
		if len(row.Damage) == 0 {
			found = append(found, lineageFindings(table, row, rows, byShard)...)
		}
	}
	return append(found, coverageFindings(table, stream, rows, byShard)...)
}

// lineageFindings are about a lease, its parents and its children.
func lineageFindings(table string, row Row, rows []Row, byShard map[string]Row) []Finding {
	var found []Finding
	add := func(s Severity, kind, other, text, do string) {
		found = append(found, Finding{Severity: s, Kind: kind, Table: table, Lease: row.Key, Other: other, Text: text, Do: do})
	}
	begun := ordered(row.Checkpoint)
	for _, id := range row.Parents {
		parent, leased := byShard[id]
		switch {
		case leased && len(parent.Damage) == 0 && !parent.Finished() && begun:
			add(Error, "child_before_parent", parent.Key, fmt.Sprintf("it was read up to %s, although its parent %s stands at %s: order is broken, or the parent was set back",
				row.Checkpoint, id, parent.Checkpoint),
				"set the children of "+id+" to trim_horizon (leases set --force), so that what follows the parent's records comes after them")
		case !leased && row.Checkpoint == TrimHorizon:
			add(Warning, "parent_missing", id, "it has not begun, and its parent "+id+" has no lease: right if the stream has trimmed the parent, else nobody reads what the parent holds",
				"look whether the stream still lists "+id+"; a worker's audit makes the lease of a parent that was never read")
		}
	}
	if !row.Finished() {
		return found
	}
	children := 0
	for _, c := range rows {
		if slices.Contains(c.Parents, row.Shard) {
			children++
		}
	}
	if children == 0 {
		add(Error, "children_missing", "", "it is at SHARD_END, and no lease continues it: its children are stranded",
			"start a worker: its audit makes leases for the children that the stream lists, at TRIM_HORIZON")
	}
	for _, id := range row.Children {
		if _, leased := byShard[id]; !leased && children > 0 {
			add(Error, "child_missing", id, "it is at SHARD_END, and its child "+id+" has no lease: nobody reads that",
				"start a worker: its audit makes leases for the children that the stream lists, at TRIM_HORIZON")
		}
	}
	return found
}

var (
	one     = big.NewInt(1)
	hashEnd = new(big.Int).Lsh(one, 128) // one more than the last hash key
)

// hashKey reads a hash key.
func hashKey(s string) (*big.Int, bool) {
	if !digits(s) {
		return nil, false
	}
	n, ok := new(big.Int).SetString(s, 10)
	return n, ok && n.Cmp(hashEnd) < 0
}

// span is the hash range of an unfinished lease.
type span struct {
	row      Row
	from, to *big.Int
}

// coverageFindings are holes in the hash range, and overlaps of leases that do
// not descend from each other. All unfinished leases together have to cover it.
func coverageFindings(table, stream string, rows []Row, byShard map[string]Row) []Finding {
	var spans []span
	unknown := 0
	for _, row := range rows {
		if row.Finished() {
			continue
		}
		from, okFrom := hashKey(row.HashFrom)
		to, okTo := hashKey(row.HashTo)
		if !okFrom || !okTo || from.Cmp(to) > 0 {
			unknown++
			continue
		}
		spans = append(spans, span{row, from, to})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(a.from.Cmp(b.from), cmp.Compare(a.row.Shard, b.row.Shard)) })
	found := overlapFindings(table, spans, byShard)
	if unknown > 0 {
		return append(found, Finding{Severity: Warning, Kind: "no_hash_range", Table: table, Stream: stream,
			Text: "the hash range of " + leases(unknown) + " of this stream is not known: whether its leases cover the stream is not checked",
			Do:   "nothing: workers of KCL 2.3 and later add the ranges"})
	}
	next := new(big.Int)
	hole := func(to *big.Int) {
		if next.Cmp(to) >= 0 {
			return
		}
		last := new(big.Int).Sub(to, one)
		found = append(found, Finding{Severity: Error, Kind: "hole", Table: table, Stream: stream, Other: next.String() + "-" + last.String(),
			Text: fmt.Sprintf("no unfinished lease of this stream covers the hash keys %s to %s: their records are not read", next, last),
			Do:   "start a worker: its audit makes missing leases from the stream's listing; if the hole stays, look for a parent at SHARD_END without children"})
	}
	for _, s := range spans {
		hole(s.from)
		if end := new(big.Int).Add(s.to, one); end.Cmp(next) > 0 {
			next = end
		}
	}
	hole(hashEnd)
	return found
}

func overlapFindings(table string, spans []span, byShard map[string]Row) []Finding {
	var found []Finding
	for i, a := range spans {
		for _, b := range spans[i+1:] {
			if b.from.Cmp(a.to) > 0 {
				break
			}
			if !descends(a.row.Shard, b.row.Shard, byShard) && !descends(b.row.Shard, a.row.Shard, byShard) {
				found = append(found, Finding{Severity: Error, Kind: "overlap", Table: table, Lease: a.row.Key, Other: b.row.Key,
					Text: "its hash range overlaps that of " + b.row.Shard + ", and neither descends from the other: one of them is no shard of this stream, or lost its parents",
					Do:   "compare parentShardId and the hash ranges with the stream's ListShards; delete the lease that is not listed"})
			}
		}
	}
	return found
}

// descends says whether a shard descends from another one, by the leases.
func descends(shard, from string, byShard map[string]Row) bool {
	seen := map[string]bool{} // damaged items may form a circle
	var climb func(id string) bool
	climb = func(id string) bool {
		if seen[id] {
			return false
		}
		seen[id] = true
		parents := byShard[id].Parents
		return slices.Contains(parents, from) || slices.ContainsFunc(parents, climb)
	}
	return climb(shard)
}
