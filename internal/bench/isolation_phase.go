package bench

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"
)

// Phase is a stretch of a round, as the receivers that are well saw it.
type Phase struct {
	Seconds    float64 `json:"seconds"`
	Well       Group   `json:"well"`       // the destinations without faults
	OtherKeys  Group   `json:"other_keys"` // the fifth's keys that are not poisoned
	LiveReads  float64 `json:"live_reads"` // a second
	AllReads   float64 `json:"all_reads"`  // a second, with those of catch-up
	CPUSeconds float64 `json:"cpu_seconds_per_1000"`
	Window     int64   `json:"window_bytes"`    // most that the shard logs held or had reserved
	RSS        int64   `json:"rss_bytes"`       // most
	EarlyRSS   int64   `json:"early_rss_bytes"` // most in its first half
	Laggards   int64   `json:"laggards"`        // most destinations times shards, 0 where no metric says so
	Parked     int64   `json:"parked_keys"`

	number int
}

// Group is what some receivers got of a phase's messages.
type Group struct {
	PerSecond float64 `json:"deliveries_per_second"` // in the phase, whenever they were put
	P50       float64 `json:"p50_seconds"`           // from put to accepted, of the messages that were put in the phase
	P99       float64 `json:"p99_seconds"`
	Longest   float64 `json:"longest_seconds"`
}

// refusals is how many calls to Kinesis the service has refused.
func (b *isolation) refusals() (n int64) {
	for call, errors := range b.aws.Stats().Errors {
		if strings.HasPrefix(call, "kinesis.") {
			n += errors
		}
	}
	return n
}

// counts are what grows.
type counts struct {
	at               time.Time
	well, otherKeys  int64
	usage            usage
	reads, delivered int64
}

func (b *isolation) counts(ctx context.Context) (c counts, err error) {
	c.at = time.Now()
	for i, r := range b.receivers {
		n := r.tally.count()
		c.delivered += n
		switch {
		case i == len(faulty)-1:
			c.otherKeys = n
		case i >= len(faulty):
			c.well += n
		}
	}
	for _, n := range b.reads() {
		c.reads += n
	}
	c.usage, err = b.worker.look(ctx)
	return c, err
}

// phase measures for a while.
func (b *isolation) phase(ctx context.Context, d time.Duration) (Phase, error) {
	began := time.Now()
	return b.measure(ctx, began.Add(d/2), func() bool { return time.Since(began) >= d })
}

// lookEvery is how often memory is looked at.
const lookEvery = 250 * time.Millisecond

// measure measures until something is so; half tells what is early.
func (b *isolation) measure(ctx context.Context, half time.Time, until func() bool) (p Phase, err error) {
	b.number++
	p.number = b.number
	b.producer.phase.Store(int32(b.number))
	first, err := b.counts(ctx)
	if err != nil {
		return p, err
	}
	last, live := first, 0.0
	for !until() {
		if err := b.pause(ctx, lookEvery); err != nil {
			return p, err
		}
		u, err := b.worker.look(ctx)
		if err != nil {
			return p, err
		}
		live += u.readsSince(last.usage)
		last.usage = u
		p.Window, p.RSS = max(p.Window, last.usage.window), max(p.RSS, last.usage.rss)
		if last.usage.at.Before(half) {
			p.EarlyRSS = p.RSS
		}
		p.Laggards, p.Parked = max(p.Laggards, last.usage.laggards), max(p.Parked, last.usage.parked)
	}
	end, err := b.counts(ctx)
	if err != nil {
		return p, err
	}
	live += end.usage.readsSince(last.usage)
	last = end
	p.Seconds = last.at.Sub(first.at).Seconds()
	p.Well.PerSecond = float64(last.well-first.well) / p.Seconds
	p.OtherKeys.PerSecond = float64(last.otherKeys-first.otherKeys) / p.Seconds
	all := float64(last.reads - first.reads)
	if b.FanOut {
		all += live // the reads are those of catch-up alone
	}
	p.LiveReads, p.AllReads = live/p.Seconds, all/p.Seconds
	p.CPUSeconds = (last.usage.cpu - first.usage.cpu) * 1000 / math.Max(1, float64(last.delivered-first.delivered))
	return p, nil
}

// collect adds what is known when the phase's messages have arrived.
func (b *isolation) collect(p *Phase) {
	var well, otherKeys []float32
	for i, r := range b.receivers {
		switch {
		case i == len(faulty)-1:
			otherKeys = r.tally.take(p.number, otherKeys)
		case i >= len(faulty):
			well = r.tally.take(p.number, well)
		default:
			r.tally.take(p.number, nil)
		}
	}
	p.Well.P50, p.Well.P99, p.Well.Longest = quantiles(well)
	p.OtherKeys.P50, p.OtherKeys.P99, p.OtherKeys.Longest = quantiles(otherKeys)
}

func quantiles(v []float32) (p50, p99, longest float64) {
	if len(v) == 0 {
		return 0, 0, 0
	}
	slices.Sort(v)
	return float64(v[len(v)/2]), float64(v[len(v)*99/100]), float64(v[len(v)-1])
}
