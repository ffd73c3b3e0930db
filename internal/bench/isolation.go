package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// IsolationOptions of the isolation benchmark.
type IsolationOptions struct {
	Run
	Rounds  int
	Rate    float64       // messages a second; 0: Share of what a worker can
	Share   float64       // of the maximum
	Steady  time.Duration // measured without faults; with them twice as long
	Reshard time.Duration // measured from a split on
	Limit   float64       // rate_limit of the five that have faults, in Rates; 0: none
}

// The five destinations that have faults, in order.
var faulty = []struct {
	name  string
	fault fault
}{{"hangs", hangs}, {"500", errs}, {"resets", resets}, {"1 byte/s", drips}, {"one key", poison}}

// poisonedKey is the fifth's.
const poisonedKey = 0

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

// CatchUp is how one of the five came back.
type CatchUp struct {
	Fault      string  `json:"fault"`
	Began      float64 `json:"began_seconds"`  // from the end of the outage to its first delivery
	Seconds    float64 `json:"seconds"`        // from there until it was as near to the tip as others
	Rate       float64 `json:"per_second"`     // deliveries meanwhile
	Possible   float64 `json:"possible"`       // the smaller of its own limit and what the shards' reads spare
	Share      float64 `json:"share"`          // Rate ÷ Possible
	Reached    bool    `json:"reached"`        // it did catch up while the benchmark waited
	Backlog    int64   `json:"backlog"`        // messages that it lacked when the outage ended
	After      float64 `json:"outage_seconds"` // that the outage lasted
	EachSecond []int64 `json:"each_second"`    // deliveries in each second from the end of the outage on
}

// IsolationRound is one round.
type IsolationRound struct {
	Baseline        Phase     `json:"baseline"`
	BaselineReshard Phase     `json:"baseline_reshard"`
	Outage          Phase     `json:"outage"`
	OutageReshard   Phase     `json:"outage_reshard"`
	CatchingUp      Phase     `json:"catching_up"`
	Back            []CatchUp `json:"back"`
	Refused         int64     `json:"refused_calls"`   // of the other source, in the outage
	Through         float64   `json:"through_seconds"` // until everybody had everything, once nothing was put
}

// IsolationResult is the outcome.
type IsolationResult struct {
	Destinations int              `json:"destinations"`
	Shards       int              `json:"shards"`
	Size         int              `json:"size"`
	Maximum      float64          `json:"maximum,omitempty"` // deliveries/s that a worker can; 0: not measured
	Rate         float64          `json:"rate"`              // messages/s that were put
	Window       int64            `json:"window"`
	FanOut       bool             `json:"fan_out"` // reads are events that the service pushes
	Rounds       []IsolationRound `json:"rounds"`
	Duplicates   int64            `json:"duplicates"`
	Disordered   int64            `json:"disordered"`
	Missing      int64            `json:"missing"`
	Criteria     []Criterion      `json:"criteria"`
}

// isolation is a benchmark under way.
type isolation struct {
	*scene
	options IsolationOptions
	worker  *worker
	number  int     // of the phase
	rate    float64 // messages a second
	limit   float64 // of the five; 0: none
}

// MeasureIsolation runs one worker with faults and without, in turns, and says
// what the destinations without faults noticed. While the five have theirs, the
// service refuses everything about another source.
func MeasureIsolation(ctx context.Context, o IsolationOptions, progress func(string)) (res IsolationResult, err error) {
	res = IsolationResult{Destinations: o.Destinations, Shards: o.Shards, Size: o.Size, Rate: o.Rate, Window: o.Window, FanOut: o.FanOut}
	if o.Rate == 0 {
		if res.Maximum, err = maximum(ctx, o.Run); err != nil {
			return res, err
		}
		res.Rate = res.Maximum * o.Share / float64(o.Destinations)
		progress(fmt.Sprintf("maximum %.0f deliveries/s: %.1f messages/s are put", res.Maximum, res.Rate))
	}
	b := &isolation{options: o, rate: res.Rate, limit: o.Limit * res.Rate}
	perRound := 3*o.Steady + 2*o.Reshard + b.options.patience()
	var stop func() error
	b.scene, stop, err = newScene(ctx, o.Run, res.Rate*perRound.Seconds()*float64(o.Rounds), func(d int) float64 {
		if d < len(faulty) {
			return b.limit
		}
		return 0
	}, func(s *scene) { s.producer.setRate(res.Rate) })
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	fifth := b.receivers[len(faulty)-1]
	fifth.key, fifth.tally.poison = poisonedKey, poisonedKey
	if b.worker, err = b.start(); err != nil {
		return res, err
	}
	if err := b.await(ctx, "everybody gets messages", time.Minute, func() bool { return b.accepted() > 0 && b.lag() < b.near() }); err != nil {
		return res, err
	}
	if err := b.pause(ctx, settling); err != nil {
		return res, err
	}
	for range o.Rounds {
		r, err := b.round(ctx)
		if err != nil {
			return res, err
		}
		res.Rounds = append(res.Rounds, r)
		progress(fmt.Sprintf("round %d of %d: throughput %.3f of the baseline, p99 %.0f ms (baseline %.0f ms), caught up after %.1f s",
			len(res.Rounds), o.Rounds, r.throughput(), r.outageP99()*1000, r.Baseline.Well.P99*1000, slowest(r.Back)))
	}
	if err := b.through(ctx, o.patience()); err != nil {
		res.Missing = b.missing() // a result, not an error
	}
	for _, rc := range b.receivers {
		rc.tally.mu.Lock()
		res.Duplicates += rc.tally.duplicates
		res.Disordered += rc.tally.disordered
		rc.tally.mu.Unlock()
	}
	res.judge()
	return res, nil
}

// patience is for how long the benchmark waits for the five to catch up: four
// times what it takes at their limit.
func (o IsolationOptions) patience() time.Duration {
	return max(4*(2*o.Steady+o.Reshard), time.Minute)
}

// settling is what the start, and a reshard with what follows from it, get
// unmeasured.
const settling = 3 * time.Second

func (b *isolation) round(ctx context.Context) (r IsolationRound, err error) {
	if r.Baseline, err = b.phase(ctx, b.options.Steady); err != nil {
		return r, err
	}
	if r.BaselineReshard, err = b.reshard(ctx); err != nil {
		return r, err
	}
	if err := b.heal(ctx); err != nil {
		return r, err
	}

	began := time.Now()
	for i, f := range faulty {
		if err := b.receivers[i].become(f.fault); err != nil {
			return r, err
		}
	}
	refusals := b.refusals()
	refused, err := b.aws.AddFault(localaws.Fault{Operation: "kinesis.*", Stream: otherStream, Kind: localaws.Error500})
	if err != nil {
		return r, err
	}
	if r.Outage, err = b.phase(ctx, 2*b.options.Steady); err != nil {
		return r, err
	}
	if r.OutageReshard, err = b.reshard(ctx); err != nil {
		return r, err
	}
	b.aws.RemoveFault(refused)
	r.Refused = b.refusals() - refusals
	if err := b.recover(ctx, &r, time.Since(began)); err != nil {
		return r, err
	}
	ended := time.Now()
	if err := b.through(ctx, b.options.patience()); err != nil {
		return r, err
	}
	r.Through = time.Since(ended).Seconds()
	for _, p := range []*Phase{&r.Baseline, &r.BaselineReshard, &r.Outage, &r.OutageReshard, &r.CatchingUp} {
		b.collect(p)
	}
	return r, b.heal(ctx)
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

// reshard splits every shard, and measures from there on.
func (b *isolation) reshard(ctx context.Context) (Phase, error) {
	if err := b.aws.Scale(b.arn, 2*b.Shards); err != nil {
		return Phase{}, err
	}
	return b.phase(ctx, b.options.Reshard)
}

// heal merges what was split.
func (b *isolation) heal(ctx context.Context) error {
	b.number++
	b.producer.phase.Store(int32(b.number)) // nobody measures it
	if err := b.aws.Scale(b.arn, b.Shards); err != nil {
		return err
	}
	if err := b.pause(ctx, settling); err != nil {
		return err
	}
	if err := b.await(ctx, "everybody gets messages after the shards were merged", b.options.patience(), func() bool { return b.lag() < b.near() }); err != nil {
		return err
	}
	for _, r := range b.receivers {
		r.tally.take(b.number, nil)
	}
	return nil
}

// lag is how many messages the receiver lacks that has the least.
func (b *isolation) lag() int64 {
	most := int64(0)
	for _, r := range b.receivers {
		most = max(most, r.tally.missing(b.producer))
	}
	return most
}

// near is how many messages a receiver may lack that is as near to the tip as
// others: those of two polls, and of a second.
func (b *isolation) near() int64 {
	return int64(b.rate*(2*b.Poll+time.Second).Seconds()) + 1
}

// returned is what one of the five got of what its fault kept back.
func (b *isolation) returned(i int) int64 {
	if faulty[i].fault == poison {
		return b.receivers[i].tally.of(poisonedKey)
	}
	return b.receivers[i].tally.count()
}

// recover ends the faults and measures how the five come back.
func (b *isolation) recover(ctx context.Context, r *IsolationRound, outage time.Duration) (err error) {
	type progress struct {
		accepted    int64
		first, last time.Time // of its deliveries; when it had caught up
		each        []int64   // as they stood at the end of each second
	}
	ended := time.Now()
	of := make([]progress, len(faulty))
	for i, f := range faulty {
		rc := b.receivers[i]
		r.Back = append(r.Back, CatchUp{Fault: f.name, Backlog: rc.tally.missing(b.producer), After: outage.Seconds()})
		of[i].accepted = b.returned(i)
		if err := rc.become(well); err != nil {
			return err
		}
	}
	deadline := ended.Add(b.options.patience())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looked := make(chan struct{})
	go func() { // a look every 20 ms, apart from the slow looks at the worker
		defer close(looked)
		for sleep(ctx, 20*time.Millisecond) {
			for i := range of {
				p, t := &of[i], b.receivers[i].tally
				if !p.last.IsZero() {
					continue
				}
				n := b.returned(i)
				for time.Since(ended) > time.Duration(len(p.each))*time.Second {
					p.each = append(p.each, n)
				}
				if p.first.IsZero() && n > p.accepted {
					p.first, p.accepted = time.Now(), n
				}
				if !p.first.IsZero() && t.missing(b.producer) <= b.near() {
					p.last, p.accepted = time.Now(), n-p.accepted
				}
			}
			if !slices.ContainsFunc(of, func(p progress) bool { return p.last.IsZero() }) {
				return
			}
		}
	}()
	r.CatchingUp, err = b.measure(ctx, ended, func() bool {
		select {
		case <-looked:
			return true
		default:
			return time.Now().After(deadline)
		}
	})
	cancel()
	<-looked
	if err != nil {
		return err
	}
	for i := range of {
		p, c := &of[i], &r.Back[i]
		c.Possible = b.possible(r.Baseline)
		for i := 1; i < len(p.each); i++ {
			c.EachSecond = append(c.EachSecond, p.each[i]-p.each[i-1])
		}
		if p.first.IsZero() {
			continue
		}
		c.Began = p.first.Sub(ended).Seconds()
		if c.Reached = !p.last.IsZero(); c.Reached {
			c.Seconds = max(p.last.Sub(p.first).Seconds(), 1e-3)
			c.Rate = float64(p.accepted) / c.Seconds
			c.Share = c.Rate / c.Possible
		}
	}
	return nil
}

// readBytes is what the service lets a shard's polling readers have, together,
// in a second; readCalls is how often, and mostRead what one call gives.
const (
	readBytes = 2 << 20
	readCalls = 5
	mostRead  = 10 << 20
)

// possible is the most messages a second that one who is behind can get: its own
// limit, or what the live reading of the shards leaves.
func (b *isolation) possible(baseline Phase) float64 {
	message := float64(b.Size + len(b.producer.keys[0]))
	bytes, calls := float64(readBytes), float64(readCalls)
	if !b.FanOut {
		bytes -= b.rate * message / float64(b.Shards)
		calls -= baseline.LiveReads / float64(b.Shards)
	}
	spare := float64(b.Shards) * min(bytes, max(calls, 0)*mostRead) / message
	if b.limit == 0 {
		return spare
	}
	return min(b.limit, spare)
}
