package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// trimHorizon is the word for the oldest record that the stream holds.
const trimHorizon = "trim_horizon"

// ParseFrom reads where a replay begins: trim_horizon, an RFC 3339 time, or
// SEQUENCE[:SUB].
func ParseFrom(from string) (checkpoint.Position, error) {
	if from == trimHorizon {
		return checkpoint.TrimHorizon, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, from); err == nil {
		return checkpoint.At(at), nil
	}
	if at, err := checkpoint.ParsePosition(from); err == nil && at.IsNumber() && at.Sub >= 0 {
		return at, nil
	}
	return checkpoint.Position{}, fmt.Errorf("%w: from %q: it is none of trim_horizon, an RFC 3339 time such as 2026-03-01T06:00:00Z, SEQUENCE or SEQUENCE:SUB", checkpoint.ErrRefused, from)
}

// stream is a source's stream as a replay sees it.
type stream struct {
	Source
	now    pipeline.Stream
	shards []checkpoint.Shard
}

// from fills in where a replay begins, after looking at the streams that the
// destinations get. It says what is not obvious.
func (c *Control) from(ctx context.Context, command *checkpoint.Command, r Request, leases []checkpoint.Lease) ([]string, error) {
	at, err := ParseFrom(r.From)
	switch {
	case err != nil:
		return nil, err
	case at.IsNumber() && r.Lease == "":
		return nil, fmt.Errorf("%w: a sequence number is of one shard: say of which lease", checkpoint.ErrRefused)
	}
	sources, done, err := c.config.Sources(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var streams []stream
	for _, source := range sources {
		if !slices.ContainsFunc(r.Destinations, func(name string) bool { return slices.Contains(source.Destinations, name) }) {
			continue
		}
		s := stream{Source: source}
		if s.now, err = source.Stream.Stream(ctx); err != nil {
			return nil, fmt.Errorf("source %s: %w", source.Name, err)
		}
		if s.shards, s.now.At, err = source.Stream.Shards(ctx); err != nil {
			return nil, fmt.Errorf("source %s: list the shards: %w", source.Name, err)
		}
		streams = append(streams, s)
	}
	if len(streams) == 0 {
		return nil, fmt.Errorf("%w: no source has them as subscribers", checkpoint.ErrRefused)
	}
	command.From = at
	if r.Lease != "" {
		if streams, command.Leases, err = c.lineage(streams, leases, r, at); err != nil {
			return nil, err
		}
	}
	return horizon(streams, at)
}

// horizon refuses a time that is in the future, or before everything that every
// stream holds, and says of which streams a part is gone.
func horizon(streams []stream, at checkpoint.Position) ([]string, error) {
	t, timed := at.Time()
	if !timed {
		return nil, nil
	}
	var notes []string
	for _, s := range streams {
		oldest := s.now.At.Add(-s.now.Retention)
		switch {
		case t.After(s.now.At):
			return nil, fmt.Errorf("%w: it is %s at source %s: a replay cannot begin in the future", checkpoint.ErrRefused, s.now.At.UTC().Format(time.RFC3339), s.Name)
		case s.now.Retention > 0 && t.Before(oldest):
			notes = append(notes, fmt.Sprintf("source %s keeps records for %s: its replay begins with the oldest that is left, of about %s, and not at %s",
				s.Name, s.now.Retention, oldest.UTC().Format(time.RFC3339), t.UTC().Format(time.RFC3339)))
		}
	}
	return notes, nil
}

// lineage is where a lease and those of its shard's descendants are set back to:
// the position, and the beginning.
func (c *Control) lineage(streams []stream, leases []checkpoint.Lease, r Request, at checkpoint.Position) ([]stream, map[string]checkpoint.Position, error) {
	for _, s := range streams {
		id := checkpoint.StreamID(s.now.Account, s.now.Name, s.now.Created)
		parents := map[string][]string{}
		for _, shard := range s.shards {
			parents[shard.ID] = shard.Parents
		}
		for _, l := range leases {
			if _, listed := parents[l.Shard]; !listed && (l.Stream == id || l.Stream == "") {
				parents[l.Shard] = l.Parents
			}
		}
		_, shard, err := checkpoint.ParseLeaseKey(c.config.Format, r.Lease)
		if err != nil { // a shard's id alone
			shard = r.Lease
		}
		if _, there := parents[shard]; !there || r.Lease != shard && r.Lease != checkpoint.LeaseKey(c.config.Format, id, shard) {
			continue
		}
		set := map[string]checkpoint.Position{checkpoint.LeaseKey(c.config.Format, id, shard): at}
		below := map[string]bool{shard: true}
		for found := true; found; {
			found = false
			for child, above := range parents {
				if !below[child] && slices.ContainsFunc(above, func(id string) bool { return below[id] }) {
					below[child], found = true, true
					set[checkpoint.LeaseKey(c.config.Format, id, child)] = checkpoint.TrimHorizon
				}
			}
		}
		return []stream{s}, set, nil
	}
	return nil, nil, fmt.Errorf("lease %s: %w: no shard of the destinations' streams", r.Lease, ErrUnknown)
}
