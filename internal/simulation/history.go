package simulation

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// Report is what came of one history.
type Report struct {
	Seed       uint64
	Violations []string       // empty: every promise was kept
	Counts     map[string]int // events and faults by kind
	Log        []string       // the last events
	Records    int            // acknowledged by the streams
	Attempts   int
	Writes     int           // to the lease table
	Length     time.Duration // in fake time
}

// configuration is which subscribers read each source.
type configuration map[string][]string

func (c configuration) clone() configuration {
	d := make(configuration)
	for source, names := range c {
		d[source] = slices.Clone(names)
	}
	return d
}

// history drives one world. Owned by the goroutine of Run.
type history struct {
	*world
	receivers map[string]*receiver // written under world.mu
	slots     []*process           // the last process of each slot; nil: none yet
	wants     []configuration      // what the next process of each slot gets
	ids       int                  // processes so far
	names     int                  // subscribers so far
	deployed  configuration
	previous  configuration // before the last deployment
	agenda    []task        // sorted by time
	length    time.Duration // until when something goes wrong
}

// task is something that happens at a time.
type task struct {
	at time.Duration
	do func()
}

const (
	failover     = 10 * time.Second
	drainTimeout = 8 * time.Second
	// drained bounds the end of a history: the longest back-offs (16 fail-over
	// times after a failed serve, five minutes of a probe) several times over.
	drained = 40 * time.Minute
)

// Run makes one history. It is called in a bubble of testing/synctest.
func Run(seed uint64) Report {
	h := &history{world: newWorld(seed), receivers: make(map[string]*receiver)}
	h.check.failover = failover
	h.check.starts = make(map[string]start)
	h.plan()
	h.watchMemory()
	h.play()
	h.end()
	return h.report(seed)
}

// report ends what is left of the history, and says what came of it.
func (h *history) report(seed uint64) Report {
	h.over.Store(true)
	for _, p := range h.processes {
		<-p.done
	}
	h.background.Wait()
	report := Report{Seed: seed, Counts: h.counts, Log: h.log, Records: len(h.records),
		Attempts: h.check.attempts, Writes: h.check.writes, Length: h.now()}
	for _, v := range h.check.violations {
		report.Violations = append(report.Violations, v.String())
	}
	return report
}

// plan makes the streams, the first configuration and the agenda.
func (h *history) plan() {
	d := h.dice
	h.bears = pick(d, "bears", 0, 0, 10*time.Second, 40*time.Second)
	h.format = pick(d, "plan", checkpoint.MultiStream, checkpoint.MultiStream, checkpoint.SingleStream)
	sources := 1
	if h.format == checkpoint.MultiStream {
		sources += d.below("plan", 2)
	}
	h.deployed = make(configuration)
	for i := range sources {
		s := h.addStream(fmt.Sprint("source-", i+1), 1+d.below("plan", 3))
		s.kpl, s.fanOut = d.chance("plan", 0.5), d.chance("plan", 0.5)
		s.initial = pick(d, "plan", start{}, start{}, start{latest: true}, start{time: h.began.Add(4 * time.Second)})
		for range 1 + d.below("plan", 3) {
			h.deployed[s.source] = append(h.deployed[s.source], h.subscriber())
		}
	}
	h.previous = h.deployed
	workers := 2 + d.below("plan", 3)
	h.slots = make([]*process, workers)
	h.wants = make([]configuration, workers)
	for i := range workers {
		h.wants[i] = h.deployed
		h.at(d.span("plan", 0, 15*time.Second), func() { h.start(i) })
	}
	if d.chance("plan", 0.3) { // trouble from the first call on
		h.storm(pick(d, "plan", "store", "stream"), d.span("plan", 5*time.Second, 40*time.Second))
	}
	h.length = d.span("plan", 60*time.Second, 160*time.Second)
	length := h.length
	for at := 10 * time.Second; at < length; at += d.span("plan", time.Second, 8*time.Second) {
		h.at(at, h.event)
	}
	h.at(length, func() {})
	for _, s := range h.streams {
		h.produce(s, length)
	}
}

// subscriber makes a new one.
func (h *history) subscriber() string {
	h.names++
	name := fmt.Sprint("channel-", h.names)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.receivers[name] = &receiver{name: name}
	h.check.starts[name] = pick(h.dice, "subscribers", start{latest: true}, start{latest: true}, start{},
		start{time: h.began.Add(h.dice.span("subscribers", 0, time.Minute))})
	return name
}

// at puts something on the agenda.
func (h *history) at(at time.Duration, do func()) {
	i := sort.Search(len(h.agenda), func(i int) bool { return h.agenda[i].at > at })
	h.agenda = slices.Insert(h.agenda, i, task{at: at, do: do})
}

func (h *history) in(d time.Duration, do func()) { h.at(h.now()+d, do) }

// play works off the agenda.
func (h *history) play() {
	for len(h.agenda) > 0 {
		next := h.agenda[0]
		h.agenda = h.agenda[1:]
		time.Sleep(next.at - h.now())
		next.do()
	}
}

// produce puts records on the agenda: alone, and in bursts.
func (h *history) produce(s *stream, length time.Duration) {
	place := "producer " + s.source
	keys := 3 + h.dice.below(place, 10)
	for at := h.dice.span(place, 0, 3*time.Second); at < length; {
		h.at(at, func() { h.burst(s, keys, 1+h.dice.below(place, 4)) })
		pause := h.dice.span(place, 20*time.Millisecond, 1200*time.Millisecond)
		if h.dice.chance(place, 0.03) {
			h.at(at, func() { h.burst(s, keys, 60) })
			pause = 6 * time.Second
		}
		at += pause
	}
}

// burst acknowledges n records at once; low keys are the frequent ones.
func (h *history) burst(s *stream, keys, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	place := "producer " + s.source
	hotel := func() string { return fmt.Sprint("hotel-", min(h.dice.below(place, keys), h.dice.below(place, keys))) }
	open := make(map[*shard][]userRecord) // aggregates that are being filled
	for range n {
		u := userRecord{hotel(), !h.quiet.Load() && h.dice.chance(place, 0.01)}
		to := s.shardFor(u.key)
		if open[to] = append(open[to], u); !s.kpl || h.dice.chance(place, 0.15) {
			h.put(s, open[to]...)
			delete(open, to)
		}
	}
	for _, to := range s.open() {
		if len(open[to]) > 0 {
			h.put(s, open[to]...)
		}
	}
	if s.kpl && h.dice.chance(place, 0.1) {
		h.happened(h.misplace(s, []string{hotel(), hotel(), hotel()}))
	}
}

// event lets one thing happen.
func (h *history) event() {
	d := h.dice
	s := h.streams[d.below("events", len(h.streams))]
	slot := d.below("events", len(h.slots))
	kinds := []struct {
		weight int
		do     func()
	}{
		{4, func() { h.kill(slot) }},
		{5, func() { h.armed(slot) }},
		{4, func() { h.suspend(slot) }},
		{3, func() { h.partition(slot) }},
		{3, func() { h.deafen(slot) }},
		{2, func() { h.retire(slot) }},
		{2, func() { h.expire(slot) }},
		{6, h.deploy},
		{5, func() { h.reshard(s, "split", h.split) }},
		{5, func() { h.reshard(s, "merge", h.merge) }},
		{2, func() { h.reshard(s, "several generations at once", h.generations) }},
		{2, func() { h.trimming(s) }},
		{6, h.sour},
		{4, h.command},
		{1, func() { h.deny(s) }},
		{2, func() {
			h.happened("storm of store faults")
			h.storm("store", d.span("events", 2*time.Second, 25*time.Second))
		}},
		{2, func() {
			h.happened("storm of stream faults")
			h.storm("stream", d.span("events", 2*time.Second, 15*time.Second))
		}},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := d.below("events", total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			k.do()
			return
		}
	}
}

func (h *history) reshard(s *stream, kind string, do func(*stream) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(s.shards) < maxShards && do(s) {
		h.happened(kind)
	}
}

// maxShards bounds the generations of a history.
const maxShards = 16

func (h *history) trimming(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	records, shards := h.trim(s)
	if records {
		h.happened("stream: records trimmed")
	}
	if shards {
		h.happened("stream: shard trimmed")
	}
}

// sour changes how a receiver answers, for a while.
func (h *history) sour() {
	names := slices.Sorted(maps.Keys(h.receivers))
	r := h.receivers[names[h.dice.below("events", len(names))]]
	h.mu.Lock()
	defer h.mu.Unlock()
	r.mood = pick(h.dice, "events", slow, failing, hanging, closed, refusing)
	r.until = time.Now().Add(h.dice.span("events", 2*time.Second, 50*time.Second))
	h.happened("receiver " + moods[r.mood])
	h.logf("%s %s until %.3f", r.name, moods[r.mood], r.until.Sub(h.began).Seconds())
}

// deny refuses the role of a source for a while.
func (h *history) deny(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.denied = time.Now().Add(h.dice.span("events", 2*time.Second, 20*time.Second))
	h.happened("stream: denied")
	h.logf("%s is denied until %.3f", s.source, s.denied.Sub(h.began).Seconds())
}
