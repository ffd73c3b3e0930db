package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

// LatencyOptions of the latency benchmark.
type LatencyOptions struct {
	Options
	Slow     []time.Duration // how long slow receivers take
	SlowRate float64         // deliveries/s that the slow receivers' connections are made for
}

// Latency is what one client's deliveries took.
type Latency struct {
	P50 float64 `json:"p50_seconds"`
	P99 float64 `json:"p99_seconds"`
}

// Slow is what Shardline made of receivers that take their time.
type Slow struct {
	Takes       float64 `json:"takes_seconds"` // as the receivers measure it: mean
	Connections int     `json:"connections"`
	Rate        float64 `json:"deliveries_per_second"`
	Limit       float64 `json:"limit"`      // connections ÷ takes
	Share       float64 `json:"share"`      // rate ÷ limit
	Disordered  int64   `json:"disordered"` // deliveries that came before an earlier one of their key
}

// LatencyResult is the outcome: medians over the rounds.
type LatencyResult struct {
	Maximum float64            `json:"maximum"` // Shardline's deliveries/s before
	Rate    float64            `json:"rate"`    // deliveries/s at which latency was measured
	Clients map[string]Latency `json:"clients"`
	Slow    []Slow             `json:"slow"`
}

// samples are latencies.
type samples struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// take is what was added since the last time, sorted.
func (s *samples) take() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	slices.Sort(all)
	return all
}

// timed notes how long deliveries took since their records were read.
type timed struct {
	*deliver.HTTP
	taken *samples
}

func (t timed) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	a := t.HTTP.Send(ctx, m)
	if a.Reason == deliver.ReasonDelivered {
		t.taken.add(time.Since(m.Record.Arrival))
	}
	return a
}

// fed are the bare clients with bodies that come at a pace, to each destination
// at once.
var fed = []client{
	{"fasthttp", func(ctx context.Context, o Options, bodies [][]byte) (func() int64, func() error, error) {
		begin, end, err := fastHTTP(o)
		return feed(ctx, o, begin, end, bodies, err)
	}},
	{own, startShardline},
	{"socket", func(ctx context.Context, o Options, bodies [][]byte) (func() int64, func() error, error) {
		begin, err := socket(o)
		return feed(ctx, o, begin, func() {}, bodies, err)
	}},
}

type fedBody struct {
	body []byte
	at   time.Time
}

// feed starts a bare client whose connections share one queue per destination.
func feed(ctx context.Context, o Options, begin begin, end func(), bodies [][]byte, err error) (func() int64, func() error, error) {
	if err != nil {
		return nil, nil, err
	}
	queues := make([]chan fedBody, o.Destinations)
	for d := range queues {
		queues[d] = make(chan fedBody, 1024)
	}
	l := newLoops(ctx, o, begin, func(d, _ int) ([]byte, func()) {
		select {
		case b := <-queues[d]:
			return b.body, func() { o.taken.add(time.Since(b.at)) }
		case <-ctx.Done():
			return nil, nil
		}
	})
	var feeder sync.WaitGroup
	feeder.Go(func() {
		tick := time.NewTicker(o.pace / time.Duration(o.Shards)) // as many as all shards together
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			now := time.Now()
			for _, q := range queues {
				select {
				case q <- fedBody{bodies[i%len(bodies)], now}:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	return l.delivered.Load, func() error {
		err := l.wait()
		feeder.Wait()
		end()
		return err
	}, nil
}

// MeasureLatency finds Shardline's maximum, measures latency at a tenth of it
// beside bare clients, and then the throughput against slow receivers.
func MeasureLatency(ctx context.Context, o LatencyOptions, progress func(string)) (LatencyResult, error) {
	res := LatencyResult{Clients: make(map[string]Latency)}
	bodies := makeBodies(o.Size)
	slice := o.Measured / time.Duration(o.Rounds)
	var rates []float64
	for range 3 {
		r, err := measure(ctx, client{own, startShardline}, o.Options, bodies, time.Second)
		if err != nil {
			return res, err
		}
		rates = append(rates, r.DeliveriesPerSecond)
	}
	res.Maximum = median(rates)
	paced := o.Options
	paced.pace = time.Duration(float64(o.Destinations*o.Shards) / (res.Maximum / 10) * float64(time.Second))
	progress(fmt.Sprintf("maximum %.0f deliveries/s: a record every %s", res.Maximum, (paced.pace / time.Duration(o.Shards)).Round(time.Microsecond)))

	p50, p99 := make(map[string][]float64), make(map[string][]float64)
	rates = nil
	for round := range o.Rounds {
		for _, c := range fed {
			paced.taken = &samples{}
			r, err := measureWarm(ctx, c, paced, bodies, slice, func() { paced.taken.take() })
			if err != nil {
				return res, fmt.Errorf("%s: %w", c.name, err)
			}
			all := paced.taken.take()
			if len(all) == 0 {
				return res, fmt.Errorf("%s: nothing was delivered within %s", c.name, slice)
			}
			rates = append(rates, r.DeliveriesPerSecond)
			low, high := all[len(all)/2].Seconds(), all[len(all)*99/100].Seconds()
			p50[c.name], p99[c.name] = append(p50[c.name], low), append(p99[c.name], high)
			progress(fmt.Sprintf("round %d  %-10s p50 %.2f ms  p99 %.2f ms", round+1, c.name, low*1000, high*1000))
		}
	}
	res.Rate = median(rates)
	for _, c := range fed {
		res.Clients[c.name] = Latency{median(p50[c.name]), median(p99[c.name])}
	}
	for _, takes := range o.Slow {
		s, err := measureSlow(ctx, o, bodies, takes)
		if err != nil {
			return res, err
		}
		progress(fmt.Sprintf("receivers that take %s: %.3f of the limit", takes, s.Share))
		res.Slow = append(res.Slow, s)
	}
	return res, nil
}

// slowDestinations are enough to see that they do not wait for each other.
const slowDestinations = 10

// measureSlow delivers to receivers that take their time.
func measureSlow(ctx context.Context, o LatencyOptions, bodies [][]byte, takes time.Duration) (Slow, error) {
	slow := o.Options
	slow.Destinations, slow.delay = slowDestinations, takes
	slow.Concurrency = max(1, int(o.SlowRate*takes.Seconds()/slowDestinations))
	secure, err := o.clientTLS()
	if err != nil {
		return Slow{}, err
	}
	var before, after SinkStats
	var shares, rates, means []float64
	for slow.run = range o.Rounds {
		r, err := measureWarm(ctx, client{own, startShardline}, slow, bodies, max(o.Measured/time.Duration(o.Rounds), 20*takes),
			func() { before, _ = readSink(ctx, o.Sink, secure) })
		if err != nil {
			return Slow{}, err
		}
		if after, err = readSink(ctx, o.Sink, secure); err != nil {
			return Slow{}, err
		}
		mean := (after.SlowSeconds - before.SlowSeconds) / float64(after.Slow-before.Slow)
		limit := float64(slow.Destinations*slow.Concurrency) / mean
		shares, rates, means = append(shares, r.DeliveriesPerSecond/limit), append(rates, r.DeliveriesPerSecond), append(means, mean)
	}
	mean := median(means)
	connections := slow.Destinations * slow.Concurrency
	return Slow{Takes: mean, Connections: connections, Rate: median(rates), Limit: float64(connections) / mean,
		Share: median(shares), Disordered: after.Disordered}, nil
}
