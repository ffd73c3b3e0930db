package bench

import "math"

// The bounds of isolation.
const (
	leastThroughput = .97 // of the baseline's
	mostLatency     = 1.25
	mostLiveReads   = 1.05 // times the baseline's, and the baseline's times it
	mostReads       = 2    // live reads and catch-up together, of the baseline's live reads
	mostGrowth      = 1.1  // of the memory from the outage's first half to its second
	leastCatchUp    = .8   // of what is possible

	// endGrace is how long the first at a shard's end wait for the others.
	endGrace = 1.0 // seconds
	// oneRead is what a read reserves: a shard log that is empty always gets it.
	oneRead = 14 << 20
)

// throughput is that of the destinations without faults, of the baseline's.
func (r IsolationRound) throughput() float64 {
	return ratio(r.Outage.Well.PerSecond, r.Baseline.Well.PerSecond)
}

func (r IsolationRound) outageP99() float64 { return r.Outage.Well.P99 }

// slowest is how long the five took to catch up, from the end of the outage.
func slowest(back []CatchUp) (seconds float64) {
	for _, c := range back {
		if !c.Reached {
			return math.Inf(1)
		}
		seconds = max(seconds, c.Began+c.Seconds)
	}
	return seconds
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// judge compares the medians of the rounds with the bounds.
func (res *IsolationResult) judge() {
	over := func(f func(IsolationRound) float64) float64 {
		var v []float64
		for _, r := range res.Rounds {
			v = append(v, f(r))
		}
		return median(v)
	}
	budget := float64(res.Window + int64(res.Shards)*2*oneRead) // a reshard doubles the shards
	res.Criteria = []Criterion{
		atLeast("throughput of the destinations without faults, of their baseline", over(IsolationRound.throughput), leastThroughput),
		atMost("their p99 latency, of their baseline", over(func(r IsolationRound) float64 { return ratio(r.outageP99(), r.Baseline.Well.P99) }), mostLatency),
		atLeast("throughput of the other keys of the fifth, of their baseline",
			over(func(r IsolationRound) float64 {
				return ratio(r.Outage.OtherKeys.PerSecond, r.Baseline.OtherKeys.PerSecond)
			}), leastThroughput),
		atMost("their p99 latency, of their baseline",
			over(func(r IsolationRound) float64 { return ratio(r.Outage.OtherKeys.P99, r.Baseline.OtherKeys.P99) }), mostLatency),
		atMost("bytes of the shard logs, of the window and one read per shard",
			over(func(r IsolationRound) float64 {
				return float64(max(r.Outage.Window, r.OutageReshard.Window, r.CatchingUp.Window)) / budget
			}), 1),
		atMost("memory beyond the baseline's, of the same",
			over(func(r IsolationRound) float64 {
				return float64(max(r.Outage.RSS, r.OutageReshard.RSS, r.CatchingUp.RSS)-r.Baseline.RSS) / budget
			}), 1),
		atMost("memory in the outage's second half, of its first half",
			over(func(r IsolationRound) float64 { return ratio(float64(r.Outage.RSS), float64(r.Outage.EarlyRSS)) }), mostGrowth),
		atLeast("throughput during a reshard in the outage, of one before",
			over(func(r IsolationRound) float64 {
				return ratio(r.OutageReshard.Well.PerSecond, r.BaselineReshard.Well.PerSecond)
			}), leastThroughput),
		atMost("longest latency during a reshard in the outage, of one before and a second",
			over(func(r IsolationRound) float64 {
				return ratio(r.OutageReshard.Well.Longest, r.BaselineReshard.Well.Longest*mostLatency+endGrace)
			}), 1),
		atLeast("rate of the slowest to catch up, of what its limit and the shards' reads allow",
			over(func(r IsolationRound) float64 {
				least := math.Inf(1)
				for i, c := range r.Back {
					if faulty[i].fault != poison { // a key's own pace is the receiver's
						least = min(least, c.Share)
					}
				}
				return least
			}), leastCatchUp),
		atLeast("destinations that caught up", over(func(r IsolationRound) float64 {
			n := 0
			for _, c := range r.Back {
				if c.Reached {
					n++
				}
			}
			return float64(n)
		}), float64(len(faulty))),
		atMost("messages that a receiver lacks in the end", float64(res.Missing), 0),
		atMost("messages that came out of order", float64(res.Disordered), 0),
	}
	if res.FanOut {
		return // the service pushes events at its own pace
	}
	res.Criteria = append(res.Criteria,
		atLeast("live reads a second, of the baseline's",
			over(func(r IsolationRound) float64 { return ratio(r.Outage.LiveReads, r.Baseline.LiveReads) }), 1/mostLiveReads),
		atMost("live reads a second, of the baseline's",
			over(func(r IsolationRound) float64 { return ratio(r.Outage.LiveReads, r.Baseline.LiveReads) }), mostLiveReads),
		atMost("all reads a second in the outage, of the live reads",
			over(func(r IsolationRound) float64 { return ratio(r.Outage.AllReads, r.Outage.LiveReads) }), mostReads),
		atMost("all reads a second while the five catch up, of the live reads",
			over(func(r IsolationRound) float64 { return ratio(r.CatchingUp.AllReads, r.CatchingUp.LiveReads) }), mostReads),
	)
}
