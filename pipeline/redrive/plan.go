package redrive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// maxPlanned bounds the letters of one plan: without their data they take
	// some 200 MiB.
	maxPlanned = 200_000
)

// Why letters are not redriven.
const (
	SkippedForeign       = "foreign"        // no letter
	SkippedGap           = "gap"            // a note, no record
	SkippedSource        = "source"         // of a source: the record could not be read or keyed
	SkippedNotConfigured = "not_configured" // its destination is not
)

// Skipped is something that is not redriven, and why.
type Skipped struct {
	Found  Found
	Reason string // one of the above
	Why    string // in words
}

// Plan is what a redrive would do with what a scan has found.
type Plan struct {
	Letters int // to deliver; a letter that is there twice counts once
	Skipped []Skipped
	Chains  []*Chain
}

// Chain is the letters of one destination, stream and key, in the order of their
// records.
type Chain struct {
	Destination string
	Key         string
	Items       []Item
}

// Item is one record to deliver, with its letter: several when it was written
// several times.
type Item struct{ Letters []*Found }

// First is the letter that is delivered.
func (i Item) First() *Found { return i.Letters[0] }

// Scanned collects what a queue has and a filter means.
func Scanned(ctx context.Context, q Queue, f Filter) ([]*Found, error) {
	var all []*Found
	err := q.Scan(ctx, f, func(found Found) error {
		if found.Problem == nil && !f.Has(&found.Letter) {
			return nil
		}
		if len(all) == maxPlanned {
			return fmt.Errorf("there are more than %d letters: name a destination, a key, a reason or times", maxPlanned)
		}
		all = append(all, &found)
		return nil
	})
	return all, err
}

// NewPlan makes a plan. configured says whether a destination is.
func NewPlan(found []*Found, configured func(destination string) bool) *Plan {
	p := &Plan{}
	type chainKey struct {
		destination, stream string
		created             int64
		key                 string
	}
	chains := make(map[chainKey]*Chain)
	for _, f := range found {
		l := &f.Letter
		if reason, why := refuse(f, configured); reason != "" {
			p.Skipped = append(p.Skipped, Skipped{*f, reason, why})
			continue
		}
		key := chainKey{l.Destination, l.Stream, l.StreamCreated.Unix(), l.Key}
		c := chains[key]
		if c == nil {
			c = &Chain{Destination: l.Destination, Key: l.Key}
			chains[key] = c
			p.Chains = append(p.Chains, c)
		}
		c.Items = append(c.Items, Item{[]*Found{f}})
	}
	for _, c := range p.Chains {
		c.sort()
		p.Letters += len(c.Items)
	}
	slices.SortFunc(p.Chains, func(a, b *Chain) int {
		return cmp.Or(strings.Compare(a.Destination, b.Destination), a.Items[0].First().Letter.Time.Compare(b.Items[0].First().Letter.Time))
	})
	return p
}

// refuse says why a letter cannot be redriven; empty: it can.
func refuse(f *Found, configured func(string) bool) (reason, why string) {
	l := &f.Letter
	switch {
	case f.Problem != nil:
		return SkippedForeign, f.Problem.Error()
	case l.Gap != nil:
		return SkippedGap, "it notes a gap: the stream has trimmed its records, there is nothing to deliver"
	case l.Destination == "":
		return SkippedSource, fmt.Sprintf("it is of source %s, for no destination: its record could not be read or keyed (%s)", l.Source, l.Detail)
	case !configured(l.Destination):
		return SkippedNotConfigured, fmt.Sprintf("destination %s is not configured", l.Destination)
	}
	return "", ""
}

// sort puts the items into the order of their records, and several letters of
// one record into one item.
func (c *Chain) sort() {
	slices.SortStableFunc(c.Items, func(a, b Item) int {
		return cmp.Or(position(&a.First().Letter).Compare(position(&b.First().Letter)), a.First().Letter.Time.Compare(b.First().Letter.Time))
	})
	merged := c.Items[:0]
	for _, item := range c.Items {
		if n := len(merged); n > 0 && sameRecord(&merged[n-1].First().Letter, &item.First().Letter) {
			merged[n-1].Letters = append(merged[n-1].Letters, item.Letters...)
			continue
		}
		merged = append(merged, item)
	}
	c.Items = merged
}

func position(l *deliver.DeadLetter) checkpoint.Position {
	return checkpoint.Position{Sequence: l.Sequence, Sub: l.SubSequence}
}

func sameRecord(a, b *deliver.DeadLetter) bool {
	return a.Shard == b.Shard && position(a) == position(b)
}

// ErrGone is why a letter's data can never be read again.
var ErrGone = errors.New("it is gone")
