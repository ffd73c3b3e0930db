package bench

import (
	"context"
	"slices"
	"time"
)

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
