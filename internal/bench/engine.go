package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// EngineOptions of the engine benchmark: every number of destinations with
// every number of keys.
type EngineOptions struct {
	Destinations []int
	Keys         []int // per shard
	Shards       int
	Size         int
	Concurrency  int
	Rounds       int
	Slice        time.Duration // measured of each, in each round
	IdleKeys     int           // so many keys' lanes become idle again
}

// EngineCell is what one number of destinations and of keys gave: medians over
// the rounds.
type EngineCell struct {
	Destinations int     `json:"destinations"`
	Keys         int     `json:"keys_per_shard"`
	PerSecond    float64 `json:"deliveries_per_second"`
	CPU          float64 `json:"cpu_microseconds"` // of a delivery
	Allocations  float64 `json:"allocations"`      // of a delivery
	Waits        float64 `json:"lock_wait"`        // seconds that goroutines waited for locks, per CPU second
}

// EngineMemory is what a process had at most.
type EngineMemory struct {
	Destinations int   `json:"destinations"`
	Shards       int   `json:"shards"`
	Keys         int   `json:"keys_per_shard"`
	Stalled      int   `json:"stalled"` // destinations that settle nothing
	RSS          int64 `json:"rss_bytes"`
	Deliveries   int64 `json:"deliveries"`
}

// EngineResult is the outcome.
type EngineResult struct {
	Cells    []EngineCell   `json:"cells"`
	IdleLane float64        `json:"idle_lane_bytes"`
	Memory   []EngineMemory `json:"memory"`
	Criteria []Criterion    `json:"criteria"`
}

// The bounds of the engine.
const (
	mostCost     = 1.5 // a delivery's CPU with the most destinations, of that with ten
	mostIdleLane = 2   // bytes, which something else left: a lane that is kept takes a hundred
	mostMemory   = 300 // MB
)

// settles takes every record at once.
type settles struct{}

func (settles) Send(context.Context, *deliver.Message) deliver.Answer {
	return deliver.Answer{Reason: deliver.ReasonDelivered}
}

func (settles) KeepsDeadline() bool { return true }

// stalls takes no record, and says nothing.
type stalls struct{}

func (stalls) Send(ctx context.Context, _ *deliver.Message) deliver.Answer {
	<-ctx.Done()
	return deliver.Answer{Reason: deliver.ReasonTimeout, Detail: "no answer"}
}

// engineLoad is a worker whose destinations settle at once.
func engineLoad(l Load) Options {
	return Options{Load: l, Sink: "http://127.0.0.1:9", transport: func(int) deliver.Transport { return settles{} }}
}

// MeasureEngine measures the cost of a delivery without HTTP: shard logs,
// cursors, lanes, positions. Then the memory that a lane leaves.
func MeasureEngine(ctx context.Context, o EngineOptions, progress func(string)) (res EngineResult, err error) {
	bodies := makeBodies(o.Size)
	var cells []EngineCell // of all rounds
	for round := range o.Rounds {
		for _, keys := range o.Keys {
			for _, destinations := range o.Destinations {
				c, err := measureEngine(ctx, engineLoad(Load{Destinations: destinations, Keys: keys, Shards: o.Shards, Concurrency: o.Concurrency}), bodies, o.Slice)
				if err != nil {
					return res, fmt.Errorf("%d destinations, %d keys: %w", destinations, keys, err)
				}
				cells = append(cells, c)
				progress(fmt.Sprintf("round %d of %d: %d destinations, %d keys: %.0f deliveries/s, %.3f µs", round+1, o.Rounds, destinations, keys, c.PerSecond, c.CPU))
			}
		}
	}
	each := len(o.Keys) * len(o.Destinations)
	for i := range each {
		c := cells[i]
		over := func(f func(EngineCell) float64) float64 {
			var v []float64
			for at := i; at < len(cells); at += each {
				v = append(v, f(cells[at]))
			}
			return median(v)
		}
		c.PerSecond = over(func(c EngineCell) float64 { return c.PerSecond })
		c.CPU = over(func(c EngineCell) float64 { return c.CPU })
		c.Allocations = over(func(c EngineCell) float64 { return c.Allocations })
		c.Waits = over(func(c EngineCell) float64 { return c.Waits })
		res.Cells = append(res.Cells, c)
	}
	if res.IdleLane, err = idleLane(ctx, o, bodies); err != nil {
		return res, err
	}
	progress(fmt.Sprintf("a lane that is idle again has left %.2f bytes", res.IdleLane))
	return res, nil
}

func measureEngine(ctx context.Context, o Options, bodies [][]byte, slice time.Duration) (c EngineCell, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	delivered, wait, err := startShardline(ctx, o, bodies)
	if err != nil {
		return c, err
	}
	if !awaitDelivery(ctx, delivered) || !sleep(ctx, warmUp) {
		cancel()
		return c, errors.Join(errors.New("nothing is delivered"), wait())
	}
	n, cpu, allocations, waits, began := delivered(), cpuSeconds(), heapAllocations(), lockWaits(), time.Now()
	if !sleep(ctx, slice) {
		return c, errors.Join(context.Cause(ctx), wait())
	}
	deliveries := float64(delivered() - n)
	cpu = cpuSeconds() - cpu
	c = EngineCell{Destinations: o.Destinations, Keys: o.Keys, PerSecond: deliveries / time.Since(began).Seconds(),
		CPU: cpu / deliveries * 1e6, Allocations: (heapAllocations() - allocations) / deliveries, Waits: (lockWaits() - waits) / cpu}
	cancel()
	if err := wait(); err != nil {
		return c, err
	}
	if deliveries == 0 {
		return c, fmt.Errorf("nothing was delivered within %s", slice)
	}
	return c, nil
}

// awaitDelivery waits for the first delivery: a thousand destinations take their
// time to begin.
func awaitDelivery(ctx context.Context, delivered func() int64) bool {
	for began := time.Now(); delivered() == 0; {
		if time.Since(began) > time.Minute || !sleep(ctx, 10*time.Millisecond) {
			return false
		}
	}
	return true
}

func heapAllocations() float64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(s)
	return float64(s[0].Value.Uint64())
}

// lockWaits is how long goroutines have waited for locks, together.
func lockWaits() float64 {
	s := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64()
}

// idleDestinations are those whose lanes become idle.
const idleDestinations = 20

// idleLane is how many bytes a lane takes that was used and is idle: what a
// worker has more after records of many keys than after those of one.
func idleLane(ctx context.Context, o EngineOptions, bodies [][]byte) (float64, error) {
	var heap [2]float64
	for i, keys := range []int{1, o.IdleKeys} {
		var err error
		if heap[i], err = heapAfter(ctx, o, keys, bodies); err != nil {
			return 0, fmt.Errorf("%d keys: %w", keys, err)
		}
	}
	return max(0, heap[1]-heap[0]) / float64(idleDestinations*o.IdleKeys), nil
}

// heapAfter is a worker's heap when it has delivered as many records as there
// are lanes, of so many keys, and nothing comes any more.
func heapAfter(ctx context.Context, e EngineOptions, keys int, bodies [][]byte) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := engineLoad(Load{Destinations: idleDestinations, Keys: keys, Shards: 1, Concurrency: e.Concurrency})
	o.source = func(s *stream) pipeline.Source { return finite{s, int64(e.IdleKeys)} }
	delivered, wait, err := startShardline(ctx, o, bodies)
	if err != nil {
		return 0, err
	}
	for began := time.Now(); delivered() < int64(idleDestinations*e.IdleKeys); {
		if time.Since(began) > time.Minute || !sleep(ctx, 10*time.Millisecond) {
			cancel()
			return 0, errors.Join(fmt.Errorf("%d deliveries after %s", delivered(), time.Since(began).Round(time.Second)), wait())
		}
	}
	var m runtime.MemStats
	for range 3 { // pools keep what they have for two
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	cancel()
	return float64(m.HeapAlloc), wait()
}

// finite is a stream that pauses after so many records of a shard, one for each
// key in turn as far as there are enough.
type finite struct {
	*stream
	records int64
}

func (f finite) Reader(shard checkpoint.Shard, from checkpoint.Position) pipeline.Reader {
	return &finiteReader{f.stream.Reader(shard, from), f}
}

type finiteReader struct {
	pipeline.Reader
	finite
}

func (r *finiteReader) Wait(ctx context.Context) error {
	if r.stream.reads.Load()*batch >= r.records {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return r.Reader.Wait(ctx)
}

func (r *finiteReader) Read(ctx context.Context) (pipeline.Batch, error) {
	b, err := r.Reader.Read(ctx)
	for i := range b.Records { // every key has its turn
		n := int64(i) + (r.stream.reads.Load()-1)*batch
		b.Records[i].PartitionKey = strconv.FormatInt(n%int64(r.stream.keys), 10)
	}
	return b, err
}

// MeasureEngineMemory says what this process needs at most while its worker
// delivers as much as it can for a while: it should do nothing else. Stalled
// destinations take no record.
func MeasureEngineMemory(ctx context.Context, o Load, stalled int, d time.Duration) (m EngineMemory, err error) {
	m = EngineMemory{Destinations: o.Destinations, Shards: o.Shards, Keys: o.Keys, Stalled: stalled}
	load := engineLoad(o)
	load.source = func(s *stream) pipeline.Source { return fresh{s} }
	load.transport = func(destination int) deliver.Transport {
		if destination < stalled {
			return stalls{}
		}
		return settles{}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	delivered, wait, err := startShardline(ctx, load, makeBodies(o.Size))
	if err != nil {
		return m, err
	}
	if !awaitDelivery(ctx, delivered) || !sleep(ctx, d) {
		cancel()
		return m, errors.Join(errors.New("nothing is delivered"), wait())
	}
	m.Deliveries = delivered()
	m.RSS, err = mostMemoryOf("self")
	cancel()
	return m, errors.Join(err, wait())
}

// fresh is a stream whose records have bodies of their own, as those that come
// over a network have.
type fresh struct{ *stream }

func (f fresh) Reader(shard checkpoint.Shard, from checkpoint.Position) pipeline.Reader {
	return freshReader{f.stream.Reader(shard, from)}
}

type freshReader struct{ pipeline.Reader }

func (r freshReader) Read(ctx context.Context) (pipeline.Batch, error) {
	b, err := r.Reader.Read(ctx)
	for i := range b.Records {
		b.Records[i].Data = bytes.Clone(b.Records[i].Data)
	}
	return b, err
}

// Judge compares with the bounds, when everything is measured.
func (res *EngineResult) Judge() {
	ten, most := 0, 0
	for _, c := range res.Cells {
		most = max(most, c.Destinations)
		if ten == 0 || c.Destinations <= 10 {
			ten = max(ten, c.Destinations)
		}
	}
	of := make(map[int][2]float64) // by keys
	for _, c := range res.Cells {
		v := of[c.Keys]
		switch c.Destinations {
		case ten:
			v[0] = c.CPU
		case most:
			v[1] = c.CPU
		}
		of[c.Keys] = v
	}
	res.Criteria = nil
	for _, keys := range slices.Sorted(maps.Keys(of)) {
		res.Criteria = append(res.Criteria, atMost(fmt.Sprintf("cost of a delivery to %d destinations, of that to %d, with %d keys", most, ten, keys),
			ratio(of[keys][1], of[keys][0]), mostCost))
	}
	res.Criteria = append(res.Criteria, atMost("bytes of an idle lane", res.IdleLane, mostIdleLane))
	for _, m := range res.Memory {
		res.Criteria = append(res.Criteria, atMost(fmt.Sprintf("MB of a worker with %d destinations, %d shards, %d keys each, %d of the destinations stalled",
			m.Destinations, m.Shards, m.Keys, m.Stalled), float64(m.RSS)/1e6, mostMemory))
	}
}
