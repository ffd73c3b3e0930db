package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shardline/shardline/checkpoint"
)

// lagReads bounds the reads that are under way.
const lagReads = 8

// lagging is a stream that tells how far behind a position is.
type lagging interface {
	Lag(ctx context.Context, shard string, at checkpoint.Position) (time.Duration, error)
}

// Lag reads how far a destination is behind on each lease, and what is left
// until the streams forget the first record that it has not settled: one record
// of each shard, of the five reads a second that it answers to everybody.
func (c *Control) Lag(ctx context.Context, d *Destination) error {
	sources, done, err := c.config.Sources(ctx)
	if err != nil {
		return err
	}
	defer done()
	kept := map[string]time.Duration{} // retention by account:stream
	streams := map[string]lagging{}
	for _, s := range sources {
		now, err := s.Stream.Stream(ctx)
		reads, able := s.Stream.(lagging)
		if err != nil || !able {
			continue // its places say so
		}
		id := now.Account + ":" + now.Name
		kept[id], streams[id] = now.Retention, reads
		if c.config.Format == checkpoint.SingleStream {
			kept[""], streams[""] = now.Retention, reads
		}
	}
	var g errgroup.Group
	g.SetLimit(lagReads)
	for i := range d.Places {
		p := &d.Places[i]
		id := p.stream[:max(0, strings.LastIndexByte(p.stream, ':'))]
		reads := streams[id]
		if reads == nil {
			p.LagError = "no source of the configuration has its stream, or it cannot be reached"
			continue
		}
		g.Go(func() error {
			lag, err := reads.Lag(ctx, p.Shard, p.lowest)
			if err != nil {
				p.LagError = err.Error()
				return nil
			}
			seconds := lag.Seconds()
			p.LagSeconds = &seconds
			if keeps := kept[id]; keeps > 0 && lag > 0 {
				left := max(0, (keeps - lag).Seconds())
				p.SecondsUntilTrim = &left
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("read the lag of %s: %w", d.Name, err)
	}
	for _, p := range d.Places {
		if left := p.SecondsUntilTrim; left != nil && (d.SecondsUntilTrim == nil || *left < *d.SecondsUntilTrim) {
			d.SecondsUntilTrim = left
		}
	}
	return nil
}
