package checkpoint_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/shardline/shardline/checkpoint"
)

// lineage is a stream of random splits and merges, with a lease table that
// loses items and a fleet that reads. The hash key space has so many units.
type lineage struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	shards []*kin
	table  map[string]checkpoint.Lease
	log    []string
}

const hashUnits = 64

// kin is a shard: its records are numbers from 1.
type kin struct {
	checkpoint.Shard
	first, last int // units, inclusive
	records     int
	seen        int  // every record up to this one was read, or trimmed before anybody could
	gone        bool // trimmed: not listed
}

func (g *lineage) add(first, last int, parents ...*kin) {
	edge := func(unit int) *big.Int { return new(big.Int).Lsh(big.NewInt(int64(unit)), 122) }
	k := &kin{first: first, last: last, records: g.rng.IntN(4)}
	k.Shard = checkpoint.Shard{ID: fmt.Sprintf("s%03d", len(g.shards)), Start: strconv.Itoa(1 + len(g.shards)),
		HashFrom: edge(first).String(), HashTo: edge(last+1).Sub(edge(last+1), big.NewInt(1)).String()}
	for _, p := range parents {
		k.Parents = append(k.Parents, p.ID)
		p.Closed = true
	}
	g.shards = append(g.shards, k)
	g.note("%s [%d, %d] of %v with %d records", k.ID, first, last, k.Parents, k.records)
}

func (g *lineage) note(format string, args ...any) {
	g.log = append(g.log, fmt.Sprintf(format, args...))
}

func (g *lineage) fail(format string, args ...any) {
	g.t.Helper()
	for _, line := range g.log {
		g.t.Log(line)
	}
	g.t.Fatalf("seed %d: %s", g.seed, fmt.Sprintf(format, args...))
}

func (g *lineage) open() []*kin {
	return slices.DeleteFunc(slices.Clone(g.shards), func(k *kin) bool { return k.Closed })
}

func (g *lineage) find(id string) *kin {
	i := slices.IndexFunc(g.shards, func(k *kin) bool { return k.ID == id })
	return g.shards[i]
}

func (g *lineage) listing() []checkpoint.Shard {
	var all []checkpoint.Shard
	for _, k := range g.shards {
		if !k.gone {
			all = append(all, k.Shard)
		}
	}
	g.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (g *lineage) leases() []checkpoint.Lease {
	var all []checkpoint.Lease
	for _, k := range g.shards { // in a fixed order: a seed replays
		if l, ok := g.table[k.ID]; ok {
			all = append(all, l)
		}
	}
	return all
}

func (g *lineage) reshard() {
	open := g.open()
	slices.SortFunc(open, func(a, b *kin) int { return a.first - b.first })
	i := g.rng.IntN(len(open))
	if k := open[i]; g.rng.IntN(2) == 0 && k.first < k.last {
		middle := (k.first + k.last) / 2
		g.add(k.first, middle, k)
		g.add(middle+1, k.last, k)
	} else if i+1 < len(open) {
		g.add(k.first, open[i+1].last, k, open[i+1])
	}
}

// trim forgets a closed shard whose parents are gone, read or not.
func (g *lineage) trim() {
	for _, k := range g.shards {
		if k.Closed && !k.gone && !slices.ContainsFunc(k.Parents, func(id string) bool { return !g.find(id).gone }) {
			k.gone, k.seen = true, k.records
			g.note("%s is trimmed", k.ID)
			return
		}
	}
}

// lose deletes an item that somebody still needs.
func (g *lineage) lose() {
	if all := g.leases(); len(all) > 0 {
		l := all[g.rng.IntN(len(all))]
		delete(g.table, l.Shard)
		g.note("the lease of %s at %s is lost", l.Shard, l.Checkpoint)
	}
}

// known is the rule of a child's lease: each parent has one, or is trimmed.
func (g *lineage) known(parents []string) bool {
	return !slices.ContainsFunc(parents, func(id string) bool {
		_, ok := g.table[id]
		return !ok && !g.find(id).gone
	})
}

// work reads a little of a shard whose lease may be served.
func (g *lineage) work() {
	all := slices.DeleteFunc(g.leases(), checkpoint.Lease.Finished)
	if len(all) == 0 {
		return
	}
	l := all[g.rng.IntN(len(all))]
	for _, id := range l.Parents {
		if p, ok := g.table[id]; ok && !p.Finished() {
			return
		}
	}
	if l.Checkpoint == checkpoint.TrimHorizon && len(checkpoint.Unread(l.Parents, g.listing(), g.leases())) > 0 {
		return
	}
	k, at := g.find(l.Shard), 0
	if l.Checkpoint.IsNumber() {
		at, _ = strconv.Atoi(l.Checkpoint.Sequence)
	}
	if at < k.records && !k.gone {
		if at > k.seen {
			g.fail("%s is read from %d, and %d is the last that was seen", k.ID, at+1, k.seen)
		}
		for _, id := range k.Parents {
			if p := g.find(id); p.seen < p.records {
				g.fail("%s is read before its parent %s", k.ID, id)
			}
		}
		k.seen = max(k.seen, at+1)
		l.Checkpoint = checkpoint.Number(strconv.Itoa(at+1), 0)
		g.table[k.ID] = l
		return
	}
	if !k.Closed {
		return
	}
	for _, c := range g.shards {
		if c.gone || !slices.Contains(c.Parents, k.ID) {
			continue
		}
		if !g.known(c.Parents) {
			return
		}
		if _, ok := g.table[c.ID]; !ok {
			g.create(checkpoint.Lease{Shard: c.ID, Parents: c.Parents, HashFrom: c.HashFrom, HashTo: c.HashTo})
		}
	}
	l.Checkpoint = checkpoint.ShardEnd
	g.table[k.ID] = l
	g.note("%s is finished", k.ID)
}

func (g *lineage) create(l checkpoint.Lease) {
	l.Key = l.Shard
	g.table[l.Shard] = l
	g.note("lease of %s at %s", l.Shard, l.Checkpoint)
}

func (g *lineage) audit() {
	create, remove := checkpoint.Audit(g.listing(), g.leases(), checkpoint.TrimHorizon, false, nil)
	for _, l := range create {
		for _, id := range l.Parents {
			if p := g.find(id); p.seen < p.records {
				g.fail("the audit makes a lease of %s before its parent %s was read", l.Shard, id)
			}
		}
		g.create(l)
	}
	for _, l := range remove {
		if k := g.find(l.Shard); k.seen < k.records {
			g.fail("the lease of %s is removed before it was read", l.Shard)
		}
		delete(g.table, l.Shard)
		g.note("the lease of %s is removed", l.Shard)
	}
}

// TestAuditHeals: whatever lineage, and whichever leases are lost and shards
// trimmed on the way, repeated audits beside the reading of the shards end with
// every hash key covered and every record read that was not trimmed, and no
// child before its parents.
//
// AUDIT_SEED runs one seed.
func TestAuditHeals(t *testing.T) {
	first, n := uint64(1), uint64(300)
	if text := os.Getenv("AUDIT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, n = seed, 1
	}
	for seed := first; seed < first+n; seed++ {
		g := &lineage{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), table: map[string]checkpoint.Lease{}}
		shards := 1 + g.rng.IntN(4)
		for i := range shards {
			g.add(i*hashUnits/shards, (i+1)*hashUnits/shards-1)
		}
		losses := g.rng.IntN(2) == 0
		for range 50 + g.rng.IntN(200) {
			switch d := g.rng.IntN(20); {
			case d == 0:
				g.reshard()
			case d == 1:
				g.trim()
			case d == 2 && losses:
				g.lose()
			case d < 6:
				g.audit()
			default:
				g.work()
			}
		}
		g.note("in peace")
		for round := 0; round < 200 && g.unfinished() != ""; round++ {
			g.audit()
			for range 10 {
				g.work()
			}
		}
		if holes := checkpoint.Holes(g.listing(), g.leases()); len(holes) > 0 {
			g.fail("holes %v", holes)
		}
		if left := g.unfinished(); left != "" {
			g.fail("%s", left)
		}
	}
}

// unfinished says what is left to do.
func (g *lineage) unfinished() string {
	for _, k := range g.shards {
		l, leased := g.table[k.ID]
		switch {
		case k.seen < k.records:
			return fmt.Sprintf("%d of the %d records of %s were read", k.seen, k.records, k.ID)
		case !k.Closed && (!leased || l.Finished()):
			return fmt.Sprintf("%s is open, and its lease is %+v", k.ID, l)
		}
	}
	return ""
}
