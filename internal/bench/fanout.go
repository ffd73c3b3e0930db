package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// Options of the fan-out benchmark.
type Options struct {
	Load                   // its keys are those of each shard
	Measured time.Duration // per client, over all rounds
	Sink     string        // base URL of the sink
	Roots    string        // PEM file of the sink's certificate, with an https Sink
	Rounds   int           // the clients alternate this often
	Only     []string      // of the rivals; empty: all

	pace  time.Duration // a record per shard in this time; 0: as many as go
	delay time.Duration // the sink answers after it
	run   int           // tells the runs with a delay apart
	taken *samples      // where latencies are noted; nil: nowhere

	transport func(destination int) deliver.Transport // nil: HTTP
	source    func(*stream) pipeline.Source           // what is read instead of the stream
}

// Rate is what one client did.
type Rate struct {
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	CPUSecondsPer1000   float64 `json:"cpu_seconds_per_1000"`
}

// Result is the outcome of the fan-out benchmark: medians over the rounds.
type Result struct {
	Destinations int                `json:"destinations"`
	Size         int                `json:"size"`
	Rounds       int                `json:"rounds"`
	Clients      map[string]Rate    `json:"clients"`
	Ratio        map[string]float64 `json:"ratio"`          // Shardline's deliveries/s over theirs: median of the rounds' ratios
	CPURatio     map[string]float64 `json:"cpu_ratio"`      // the same of CPU seconds per delivery
	Sink         *Rate              `json:"sink,omitempty"` // our own sink's CPU, over all clients
}

// Shardline's own name among the clients.
const own = "shardline"

// client is one of those that are compared. start delivers until ctx ends;
// delivered counts what was acknowledged so far.
type client struct {
	name  string
	start func(ctx context.Context, o Options, bodies [][]byte) (delivered func() int64, wait func() error, err error)
}

// clients are Shardline and its rivals. Another rival is another line.
var clients = []client{
	{"net_http", startNetHTTP},
	{"fasthttp", startFastHTTP},
	{own, startShardline},
	{"socket", startSocket},
}

// warmUp is how long a client runs before it is measured: connections are
// made, lanes filled.
const warmUp = 500 * time.Millisecond

// Fanout runs the clients in turns against one sink and compares them.
// ownSink says that the sink is one of ours, which counts for itself.
func Fanout(ctx context.Context, o Options, ownSink bool, progress func(round int, client string, r Rate)) (Result, error) {
	bodies := makeBodies(o.Size)
	rates := make(map[string][]Rate)
	slice := o.Measured / time.Duration(o.Rounds)
	for round := range o.Rounds {
		turn := slices.DeleteFunc(slices.Clone(clients), func(c client) bool {
			return len(o.Only) > 0 && c.name != own && !slices.Contains(o.Only, c.name)
		})
		if round%2 == 1 {
			slices.Reverse(turn) // so that nobody always comes first
		}
		for _, c := range turn {
			r, err := measure(ctx, c, o, bodies, slice)
			if err != nil {
				return Result{}, fmt.Errorf("%s: %w", c.name, err)
			}
			rates[c.name] = append(rates[c.name], r)
			progress(round, c.name, r)
		}
	}
	res := Result{Destinations: o.Destinations, Size: o.Size, Rounds: o.Rounds, Clients: make(map[string]Rate), Ratio: make(map[string]float64), CPURatio: make(map[string]float64)}
	for name, all := range rates {
		var perSecond, cpu, ratio, cpuRatio []float64
		for i, r := range all {
			perSecond, cpu = append(perSecond, r.DeliveriesPerSecond), append(cpu, r.CPUSecondsPer1000)
			ratio = append(ratio, rates[own][i].DeliveriesPerSecond/r.DeliveriesPerSecond)
			cpuRatio = append(cpuRatio, rates[own][i].CPUSecondsPer1000/r.CPUSecondsPer1000)
		}
		res.Clients[name] = Rate{median(perSecond), median(cpu)}
		if name != own {
			res.Ratio[name], res.CPURatio[name] = median(ratio), median(cpuRatio)
		}
	}
	if ownSink {
		secure, err := o.clientTLS()
		if err != nil {
			return Result{}, err
		}
		s, err := readSink(ctx, o.Sink, secure)
		if err != nil {
			return Result{}, err
		}
		res.Sink = &Rate{CPUSecondsPer1000: s.CPUSeconds * 1000 / float64(s.Deliveries)}
	}
	return res, nil
}

// measure runs one client for a slice of time.
func measure(ctx context.Context, c client, o Options, bodies [][]byte, slice time.Duration) (Rate, error) {
	return measureWarm(ctx, c, o, bodies, slice, func() {})
}

// measureWarm calls warm when the measuring begins.
func measureWarm(ctx context.Context, c client, o Options, bodies [][]byte, slice time.Duration, warm func()) (Rate, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	delivered, wait, err := c.start(ctx, o, bodies)
	if err != nil {
		return Rate{}, err
	}
	if !sleep(ctx, warmUp) {
		return Rate{}, ctx.Err()
	}
	warm()
	n, cpu, began := delivered(), cpuSeconds(), time.Now()
	if !sleep(ctx, slice) {
		return Rate{}, ctx.Err()
	}
	n, cpu = delivered()-n, cpuSeconds()-cpu
	took := time.Since(began).Seconds()
	cancel()
	if err := wait(); err != nil {
		return Rate{}, err
	}
	if n <= 0 {
		return Rate{}, fmt.Errorf("nothing was delivered within %s", slice)
	}
	return Rate{float64(n) / took, cpu * 1000 / float64(n)}, nil
}

// makeBodies are messages of a size; enough of them that no cache holds one.
func makeBodies(size int) [][]byte {
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	bodies := make([][]byte, 512)
	for i := range bodies {
		bodies[i] = make([]byte, size)
		for j := range bodies[i] {
			bodies[i][j] = byte('a' + rng.IntN(26))
		}
	}
	return bodies
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// sleep says false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
