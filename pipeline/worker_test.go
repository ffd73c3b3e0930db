package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// tape is a stream whose shards hold the records that a test wrote.
type tape struct {
	mu     sync.Mutex
	shards map[string]*tapeShard
	reads  int
	caught int // reads of catch-up among them
	opened int // readers that were made, without those of catch-up
	open   int // readers that read and are not closed
	lives  int // how often the stream was made again
	gone   bool

	retention time.Duration // 0: the stream does not say
	anew      int           // how often readers lost their place: they begin anew
	denied    bool          // records, not descriptions
	slow      bool          // a reading begins with an answer that says nothing, as a subscription does

	waited  func() bool // called at the end of a wait; it says whether the process stood still meanwhile
	zombies int         // reads after that
}

type tapeShard struct {
	checkpoint.Shard
	records []pipeline.Record
	trimmed int // records at the front that are gone
}

func newTape(shards ...string) *tape {
	t := &tape{shards: map[string]*tapeShard{}}
	for _, s := range shards {
		t.shards[s] = &tapeShard{Shard: checkpoint.Shard{ID: s, Start: "1"}}
	}
	return t
}

// put writes records "key number" to a shard.
func (t *tape) put(shard string, records ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.shards[shard]
	for _, r := range records {
		key, _, _ := strings.Cut(r, " ")
		s.records = append(s.records, pipeline.Record{
			Position:     checkpoint.Number(fmt.Sprint(len(s.records)+1), 0),
			PartitionKey: key, Data: []byte(r), Arrival: time.Now(),
		})
	}
}

// split closes a shard, whose children begin.
func (t *tape) split(shard string, children ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shards[shard].Closed = true
	for _, c := range children {
		t.shards[c] = &tapeShard{Shard: checkpoint.Shard{ID: c, Start: "1", Parents: []string{shard}}}
	}
}

// countReads says how many reads there were since the last call.
func (t *tape) countReads() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.reads
	t.reads, t.caught = 0, 0
	return n
}

// countAgain says how many reads of catch-up there were since the last count.
func (t *tape) countAgain() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.caught
	t.caught = 0
	return n
}

func (t *tape) Name() string { return "tape" }

func (t *tape) Forget(string) {}

func (t *tape) Stream(context.Context) (pipeline.Stream, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return pipeline.Stream{}, pipeline.ErrStreamGone
	}
	return pipeline.Stream{ARN: "arn:aws:kinesis:eu-west-1:111111111111:stream/tape", Account: "111111111111", Name: "tape",
		Created: time.Unix(int64(1+t.lives), 0), Retention: t.retention, At: time.Now()}, nil
}

func (t *tape) Shards(context.Context) ([]checkpoint.Shard, time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return nil, time.Time{}, pipeline.ErrStreamGone
	}
	var all []checkpoint.Shard
	for _, s := range t.shards {
		all = append(all, s.Shard)
	}
	return all, time.Now(), nil
}

func (t *tape) Reader(shard checkpoint.Shard, from checkpoint.Position) pipeline.Reader {
	t.made(1)
	r := &tapeReader{tape: t, shard: shard.ID, begun: -1}
	if at, timed := from.Time(); timed {
		r.since = at
	}
	if from.IsNumber() {
		fmt.Sscan(from.Sequence, &r.next)
		r.next-- // AT: the record at the position comes again
		r.proving = true
	}
	return r
}

func (t *tape) CatchUp(shard checkpoint.Shard, from checkpoint.Position) pipeline.Reader {
	r := t.Reader(shard, from).(*tapeReader)
	r.again = true
	t.made(-1)
	return r
}

func (t *tape) made(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened += n
}

// readers is how many readers were made, without those of catch-up.
func (t *tape) readers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.opened
}

type tapeReader struct {
	tape    *tape
	shard   string
	next    int
	waits   bool
	again   bool      // it is a catch-up's
	proving bool      // the record at next has yet to be seen
	since   time.Time // the first record arrived then or later
	asked   bool      // of a slow tape
	begun   int       // the tape's anew and lives when the reading began, the last time
	stood   bool      // the process stood still
}

func (r *tapeReader) Wait(ctx context.Context) error {
	if !r.waits {
		return nil
	}
	select {
	case <-time.After(200 * time.Millisecond):
		if r.tape.waited != nil {
			r.stood = r.tape.waited()
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *tapeReader) Close() {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	if r.waits {
		r.tape.open--
	}
	r.waits = false
}

func (r *tapeReader) Read(context.Context) (pipeline.Batch, error) {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	if !r.waits {
		r.waits = true
		r.tape.open++
	}
	r.tape.reads++
	if r.again {
		r.tape.caught++
	}
	if r.stood {
		r.tape.zombies++
	}
	if r.tape.gone {
		return pipeline.Batch{}, pipeline.ErrStreamGone
	}
	if r.tape.denied {
		return pipeline.Batch{}, pipeline.ErrDenied
	}
	if r.tape.slow && !r.asked {
		r.asked = true
		return pipeline.Batch{Continues: true}, nil
	}
	s := r.tape.shards[r.shard]
	if s == nil {
		return pipeline.Batch{}, pipeline.ErrShardGone
	}
	b := pipeline.Batch{Records: s.left(r.next), Tip: true, Continues: r.begun == r.tape.anew+r.tape.lives}
	r.begun = r.tape.anew + r.tape.lives
	for len(b.Records) > 0 && b.Records[0].Arrival.UnixMilli() < r.since.UnixMilli() {
		b.Records = b.Records[1:]
	}
	if r.proving {
		b.Gap = s.gapOf(r.next)
	}
	r.proving, r.next = false, len(s.records)
	if s.Closed {
		b.End = true
		for _, c := range r.tape.shards {
			if slices.Contains(c.Parents, r.shard) {
				b.Children = append(b.Children, c.Shard)
			}
		}
	}
	return b, nil
}

// inbox is a subscriber that settles at once, unless it is shut.
type inbox struct {
	name string

	mu   sync.Mutex
	shut bool
	got  []string
	in   map[*pipeline.Cursor]bool

	detaching time.Duration // what it has in flight takes so long
}

// attached is how many cursors it has.
func (i *inbox) attached() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.in)
}

func newInbox(name string) *inbox { return &inbox{name: name, in: map[*pipeline.Cursor]bool{}} }

func (i *inbox) Name() string { return i.name }

func (i *inbox) Attach(_ context.Context, c *pipeline.Cursor) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.in[c] = true
}

func (i *inbox) Wake(c *pipeline.Cursor) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for !i.shut {
		e := c.Next()
		if e == nil {
			return
		}
		i.got = append(i.got, string(e.Data))
		c.Settle(e)
	}
}

func (i *inbox) Leave(c *pipeline.Cursor, way pipeline.Way) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c.Left(way)
}

func (i *inbox) Park(*pipeline.Cursor, uint64, int) bool { return false }

func (i *inbox) Slow(*pipeline.Cursor, time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.shut
}

func (i *inbox) Busy(*pipeline.Cursor) bool { return false }

func (i *inbox) Wants() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.shut
}

func (i *inbox) Drain(context.Context, *pipeline.Cursor) error { return nil }

func (i *inbox) Detach(c *pipeline.Cursor) {
	time.Sleep(i.detaching)
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.in, c)
}

func (i *inbox) setShut(shut bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.shut = shut
}

// take empties the inbox.
func (i *inbox) take() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	got := strings.Join(i.got, ", ")
	i.got = nil
	return got
}

// fleet starts workers on one tape and one store.
type fleet struct {
	t       *testing.T
	tape    *tape
	store   checkpoint.Store
	first   pipeline.Initial // of the source
	shared  bool             // with KCL workers
	window  int64            // 0: room for one read at a time
	ahead   atomic.Int64     // how far the workers' clocks have run through suspends
	n       int
	runs    int                  // workers
	worker  *pipeline.Worker     // the one that was started last
	metrics *prometheus.Registry // its own
}

// start runs a worker with subscribers; stop drains it.
func (f *fleet) start(initial pipeline.Initial, subscribers ...pipeline.Subscriber) (stop func()) {
	f.n++
	source := pipeline.SourceConfig{Source: f.tape, Initial: f.first, Describe: func(key string, _ []byte) (pipeline.Description, error) {
		return pipeline.Description{Key: key}, nil
	}}
	for _, s := range subscribers {
		source.Subscribers = append(source.Subscribers, pipeline.Subscription{Subscriber: s, Initial: initial})
	}
	reg := prometheus.NewRegistry()
	f.metrics = reg
	began := time.Now()
	w := pipeline.NewWorker(pipeline.Config{
		ID: fmt.Sprintf("worker-%d", f.n), Store: f.store, Format: checkpoint.MultiStream, Failover: 10 * time.Second,
		SharedWithKCL: f.shared, Sources: []pipeline.SourceConfig{source}, Window: max(f.window, 1<<20), DrainTimeout: 5 * time.Second,
		Metrics: pipeline.NewMetrics(reg), LeaseMetrics: checkpoint.NewMetrics(reg), Logger: zaptest.NewLogger(f.t),
		Clock: func() time.Duration { return time.Since(began) + time.Duration(f.ahead.Load()) },
	})
	f.worker = w
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	f.runs++
	return func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("Run: %v", err)
		}
		if f.runs--; f.runs == 0 && f.tape.open != 0 {
			f.t.Errorf("%d readers are not closed when the last worker has ended", f.tape.open)
		}
	}
}

func expect(t *testing.T, i *inbox, want string) {
	t.Helper()
	if got := i.take(); got != want {
		t.Errorf("%s got  %q\nwant %q", i.name, got, want)
	}
}

// TestSuspended lets a machine stand still just before a read: the reader, which
// would subscribe in the place of the shard's new owner, does not read any more,
// although no timer has told yet that the tenure is over.
func TestSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("a"), store: &checkpoint.Memory{}}
		box := newInbox("d")
		var suspend atomic.Bool
		f.tape.waited = func() bool {
			if !suspend.CompareAndSwap(true, false) {
				return false
			}
			f.ahead.Add(int64(time.Hour))
			return true
		}
		stop := f.start(pipeline.Initial{}, box)
		f.tape.put("a", "x 1")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		expect(t, box, "x 1")
		suspend.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if f.tape.zombies != 0 {
			t.Errorf("%d reads after the tenure had ended", f.tape.zombies)
		}
		f.tape.put("a", "x 2")
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, box, "x 2")
		stop()
	})
}

// TestRestart delivers, stops, and goes on without a record twice.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}}
		a, b := newInbox("a"), newInbox("b")
		f.tape.put("s-1", "k 1", "k 2")
		stop := f.start(pipeline.Initial{}, a, b)
		time.Sleep(5 * time.Second)
		expect(t, a, "k 1, k 2")
		expect(t, b, "k 1, k 2")
		b.setShut(true) // b lags behind when the worker stops
		f.tape.put("s-1", "k 3")
		time.Sleep(5 * time.Second)
		expect(t, a, "k 3")
		stop()
		b.setShut(false)
		f.tape.put("s-1", "k 4")
		stop = f.start(pipeline.Initial{}, a, b)
		time.Sleep(5 * time.Second)
		expect(t, a, "k 4")
		expect(t, b, "k 3, k 4")
		stop()
	})
}

// TestRosters changes the destinations from start to start.
func TestRosters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}}
		a, b, late, old := newInbox("a"), newInbox("b"), newInbox("late"), newInbox("old")
		f.tape.put("s-1", "k 1")
		stop := f.start(pipeline.Initial{}, a, b)
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "k 1")
		expect(t, b, "k 1")

		f.tape.put("s-1", "k 2") // b is removed, late is new
		stop = f.start(pipeline.InitialLatest(), a, late)
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "k 2")
		expect(t, late, "k 2")

		f.tape.put("s-1", "k 3") // b is back, at its place; old is new and wants the oldest
		stop = f.start(pipeline.Initial{}, a, b, late, old)
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "k 3")
		expect(t, b, "k 2, k 3")
		expect(t, late, "k 3")
		expect(t, old, "k 1, k 2, k 3")
	})
}

// TestGate splits a shard while a destination is missing: when it is back, it
// gets the parent first, and the others do not wait for it.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}}
		a, b := newInbox("a"), newInbox("b")
		f.tape.put("s-1", "k 1")
		stop := f.start(pipeline.Initial{}, a, b)
		time.Sleep(5 * time.Second)
		stop()
		a.take()
		b.take()

		f.tape.put("s-1", "k 2")
		f.tape.split("s-1", "s-2", "s-3")
		f.tape.put("s-2", "k 3")
		stop = f.start(pipeline.Initial{}, a)
		time.Sleep(30 * time.Second)
		stop()
		expect(t, a, "k 2, k 3")

		f.tape.put("s-2", "k 4")
		stop = f.start(pipeline.Initial{}, a, b)
		time.Sleep(60 * time.Second)
		f.tape.put("s-2", "k 5")
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "k 4, k 5")
		expect(t, b, "k 2, k 3, k 4, k 5")
		leases, err := f.store.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			if len(l.Behind) > 0 {
				t.Errorf("lease %s: still behind: %v", l.Key, l.Behind)
			}
		}
	})
}

// TestReadsDoNotGrow reads a shard as often for a hundred destinations as for
// one (P8).
func TestReadsDoNotGrow(t *testing.T) {
	reads := func(destinations int) (n int) {
		synctest.Test(t, func(t *testing.T) {
			f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}}
			var all []pipeline.Subscriber
			for i := range destinations {
				all = append(all, newInbox(fmt.Sprint("d", i)))
			}
			stop := f.start(pipeline.Initial{}, all...)
			time.Sleep(3 * time.Second)
			f.tape.countReads()
			for range 100 {
				f.tape.put("s-1", "k 1", "l 1", "m 1")
				time.Sleep(100 * time.Millisecond)
			}
			n = f.tape.countReads()
			stop()
		})
		return n
	}
	if one, hundred := reads(1), reads(100); one != hundred || one == 0 {
		t.Errorf("%d reads for one destination, %d for a hundred", one, hundred)
	}
}

// TestFinishedLeaseOfTheDead removes the lease of a finished shard whose owner
// died before releasing it, and not before its time is up.
func TestFinishedLeaseOfTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &checkpoint.Memory{}
		f := &fleet{t: t, tape: newTape("s-1"), store: store}
		a := newInbox("a")
		f.tape.put("s-1", "k 1")
		f.tape.split("s-1", "s-2", "s-3")
		f.tape.put("s-2", "k 2")
		f.tape.put("s-3", "l 1")
		stop := f.start(pipeline.Initial{}, a)
		time.Sleep(20 * time.Second)
		stop()
		const key = "111111111111:tape:1:s-1"
		finished, err := store.Get(t.Context(), key)
		if err != nil || !finished.Finished() {
			t.Fatalf("lease %+v, error %v; want it finished", finished, err)
		}
		if _, err := store.Take(t.Context(), finished, "dead", "tenure"); err != nil {
			t.Fatal(err)
		}
		stop = f.start(pipeline.Initial{}, a)
		time.Sleep(5 * time.Second)
		if _, err := store.Get(t.Context(), key); err != nil {
			t.Errorf("within the fail-over time: %v", err)
		}
		time.Sleep(3 * time.Minute)
		if _, err := store.Get(t.Context(), key); !errors.Is(err, checkpoint.ErrNotFound) {
			t.Errorf("the lease is still there: error %v", err)
		}
		stop()
	})
}

// TestLatestIsPinned begins at the first listing, although the table took no
// lease for a while: what arrived meanwhile is delivered, what is older not.
func TestLatestIsPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		store := &checkpoint.Memory{Fault: func(op, _ string) checkpoint.Outcome {
			if op == "create" && time.Since(began) < 90*time.Second {
				return checkpoint.Fail
			}
			return checkpoint.None
		}}
		f := &fleet{t: t, tape: newTape("s-1"), store: store, first: pipeline.InitialLatest()}
		a := newInbox("a")
		f.tape.put("s-1", "k old")
		time.Sleep(time.Minute)
		stop := f.start(pipeline.Initial{}, a)
		time.Sleep(20 * time.Second)
		f.tape.put("s-1", "k new")
		time.Sleep(2 * time.Minute)
		expect(t, a, "k new")
		stop()
	})
}
