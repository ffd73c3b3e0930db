package bench

import (
	"context"
	"errors"
	"fmt"
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
