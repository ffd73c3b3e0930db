package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// SoakOptions of the soak.
type SoakOptions struct {
	Run
	Rate  float64       // messages a second; 0: Share of what a worker can
	Share float64       // of the maximum
	For   time.Duration // how long messages are put
	Every time.Duration // between two disturbances; two fail-over times at least
	Seed  uint64        // of their order
}

// SoakResult is the outcome.
type SoakResult struct {
	Seed         uint64      `json:"seed"`
	Maximum      float64     `json:"maximum,omitempty"`
	Rate         float64     `json:"rate"` // messages/s that were put
	Seconds      float64     `json:"seconds"`
	Messages     int64       `json:"messages"`
	Deliveries   int64       `json:"deliveries"` // different ones that were accepted
	Faults       int64       `json:"faults"`     // attempts that receivers did not accept
	Kills        int         `json:"kills"`
	Stops        int         `json:"stops"`
	Reshards     int         `json:"reshards"`
	Lost         int64       `json:"lost"`
	Disordered   int64       `json:"disordered"`
	Duplicates   int64       `json:"duplicates"`
	Allowed      int64       `json:"allowed_duplicates"`
	PerSecond    float64     `json:"deliveries_per_second"`
	P50          float64     `json:"p50_seconds"` // from put to accepted
	P99          float64     `json:"p99_seconds"`
	RSS          [2]int64    `json:"rss_bytes"` // of the worker that stays: medians of the first and the last quarter
	Goroutines   [2]int64    `json:"goroutines"`
	CPUSeconds   float64     `json:"cpu_seconds"` // its own
	CleanStops   bool        `json:"clean_stops"`
	Through      float64     `json:"through_seconds"` // until all was there, once nothing was put
	Criteria     []Criterion `json:"criteria"`
	destinations int
}

// mostSoakGrowth is what memory and goroutines may grow by, from the first
// quarter to the last.
const mostSoakGrowth = 1.2

// soak is one under way.
type soak struct {
	*scene
	options SoakOptions
	result  *SoakResult
	rng     *rand.Rand
	stays   *worker
	goes    *worker // nil: its successor is not started yet
	split   bool
	bag     []disturbance // that are to come

	looks   []usage // at the one that stays
	unsaved []look
}

// look is how far every receiver's messages were settled at a time.
type look struct {
	at     time.Time
	oldest []int64 // by receiver
}

type disturbance string

const (
	kill    disturbance = "kill"
	stop    disturbance = "stop"
	reshard disturbance = "reshard"
)

// next is what chance says: of every five, two kills, a stop, a split and a
// merge.
func (s *soak) next() disturbance {
	if len(s.bag) == 0 {
		s.bag = []disturbance{kill, kill, stop, reshard, reshard}
		s.rng.Shuffle(len(s.bag), func(i, j int) { s.bag[i], s.bag[j] = s.bag[j], s.bag[i] })
	}
	what := s.bag[0]
	s.bag = s.bag[1:]
	return what
}

// Soak runs two workers at a steady rate on receivers with random faults. One
// worker is killed, or stopped, and started again, now and then; shards are
// split and merged. In the end everything has to be there, in order.
func Soak(ctx context.Context, o SoakOptions, progress func(string)) (res SoakResult, err error) {
	res = SoakResult{Seed: o.Seed, Rate: o.Rate, CleanStops: true, destinations: o.Destinations}
	if o.Rate == 0 {
		if res.Maximum, err = maximum(ctx, o.Run); err != nil {
			return res, err
		}
		res.Rate = res.Maximum * o.Share / float64(o.Destinations)
		progress(fmt.Sprintf("maximum %.0f deliveries/s: %.1f messages/s are put", res.Maximum, res.Rate))
	}
	s := &soak{options: o, result: &res, rng: rand.New(rand.NewPCG(o.Seed, 1))}
	var end func() error
	s.scene, end, err = newScene(ctx, o.Run, res.Rate*o.For.Seconds(), func(int) float64 { return 0 },
		func(s *scene) { s.producer.setRate(res.Rate) })
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, end()) }()
	for _, r := range s.receivers {
		if err := r.become(random); err != nil {
			return res, err
		}
	}
	if s.stays, err = s.start(); err != nil {
		return res, err
	}
	if s.goes, err = s.start(); err != nil {
		return res, err
	}
	if err := s.await(ctx, "everybody gets messages", time.Minute, func() bool {
		_, err := s.stays.look(ctx)
		return s.accepted() > 0 && err == nil
	}); err != nil {
		return res, err
	}
	if err := s.run(ctx, progress); err != nil {
		return res, err
	}
	if err := s.finish(ctx, progress); err != nil {
		return res, err
	}
	res.judge(s.looks)
	return res, nil
}

// soakLook is how often everything is looked at.
const soakLook = 250 * time.Millisecond

// run disturbs until the time is over.
func (s *soak) run(ctx context.Context, progress func(string)) error {
	began := time.Now()
	accepted := s.accepted()
	next, again := began.Add(s.options.Every), time.Time{}
	told := began
	for time.Since(began) < s.options.For {
		if err := s.pause(ctx, soakLook); err != nil {
			return err
		}
		now := time.Now()
		if err := s.look(ctx); err != nil {
			return err
		}
		if s.goes == nil && now.After(again) {
			var err error
			if s.goes, err = s.start(); err != nil {
				return err
			}
		}
		if now.After(next) {
			if err := s.disturb(ctx); err != nil {
				return err
			}
			next = time.Now().Add(s.options.Every)
			again = now.Add(time.Duration((.5 + s.rng.Float64()) * float64(s.options.Failover))) // a peer has taken over, or is about to
		}
		if now.Sub(told) >= 15*time.Second {
			told = now
			u := s.looks[len(s.looks)-1]
			progress(fmt.Sprintf("%4.0f s: %d messages, %d deliveries, %d kills, %d stops, %d reshards; memory %d MiB, %d goroutines, the slowest lacks %d",
				now.Sub(began).Seconds(), s.producer.total.Load(), s.accepted(), s.result.Kills, s.result.Stops, s.result.Reshards, u.rss>>20, u.goroutines, s.lacks()))
		}
	}
	s.result.Seconds = time.Since(began).Seconds()
	s.result.PerSecond = float64(s.accepted()-accepted) / s.result.Seconds
	return nil
}

// lacks is how many messages the receiver lacks that has the least.
func (s *soak) lacks() (most int64) {
	for _, r := range s.receivers {
		most = max(most, r.tally.missing(s.producer))
	}
	return most
}

// look notes what the worker that stays takes, and what is not settled.
func (s *soak) look(ctx context.Context) error {
	u, err := s.stays.look(ctx)
	if err != nil {
		return err
	}
	s.looks = append(s.looks, u)
	if s.goes != nil {
		if err, ended := s.goes.Ended(); ended {
			return fmt.Errorf("worker %s ended by itself: %v: see %s", s.goes.Name, err, s.goes.Log)
		}
	}
	l := look{at: time.Now()}
	for _, r := range s.receivers {
		l.oldest = append(l.oldest, r.tally.oldest(s.producer))
	}
	s.unsaved = append(s.unsaved, l)
	for len(s.unsaved) > 1 && time.Since(s.unsaved[1].at) > s.saved() {
		s.unsaved = s.unsaved[1:]
	}
	return nil
}

// saved is how long ago every shard has saved its positions at least once: half
// a fail-over time, and what a slow machine adds.
func (s *soak) saved() time.Duration { return s.options.Failover/2 + time.Second }

// disturb does what chance says. The worker that goes is there again: see Every.
func (s *soak) disturb(ctx context.Context) error {
	switch s.next() {
	case kill:
		s.goes.Kill()
		s.goes = nil
		s.result.Kills++
		if err := s.pause(ctx, soakLook); err != nil { // what was on its way arrives
			return err
		}
		// What may come again: all that was settled since the last save, or
		// ahead of a position that was saved then (P6).
		for i, r := range s.receivers {
			s.result.Allowed += r.tally.since(s.producer, s.unsaved[0].oldest[i])
		}
	case stop:
		s.result.Stops++
		w := s.goes
		s.goes = nil
		if err := w.Stop(30 * time.Second); err != nil {
			s.result.CleanStops = false
		}
	case reshard:
		s.result.Reshards++
		shards := 2 * s.Shards
		if s.split {
			shards = s.Shards
		}
		s.split = !s.split
		return s.aws.Scale(s.arn, shards)
	}
	return nil
}

// finish waits for everything, stops the workers, and counts.
func (s *soak) finish(ctx context.Context, progress func(string)) error {
	res := s.result
	began := time.Now()
	s.producer.hold.Store(true)
	if err := s.through(ctx, 2*time.Minute); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		progress(err.Error())
	}
	res.Through = time.Since(began).Seconds()
	last, err := s.stays.look(ctx)
	if err != nil {
		return err
	}
	res.CPUSeconds = last.cpu
	for _, w := range []*worker{s.goes, s.stays} {
		if w == nil {
			continue
		}
		if err := w.Stop(30 * time.Second); err != nil {
			res.CleanStops = false
			progress(err.Error())
		}
	}
	res.Messages, res.Lost = s.producer.total.Load(), s.missing()
	var waits []float32
	for _, r := range s.receivers {
		waits = r.tally.take(0, waits)
		r.tally.mu.Lock()
		res.Deliveries += r.tally.accepted
		res.Faults += r.tally.refused
		res.Duplicates += r.tally.duplicates
		res.Disordered += r.tally.disordered
		r.tally.mu.Unlock()
	}
	res.P50, res.P99, _ = quantiles(waits)
	return nil
}

// judge compares with the bounds.
func (res *SoakResult) judge(looks []usage) {
	quarter := max(1, len(looks)/4)
	for i, part := range [][]usage{looks[:quarter], looks[len(looks)-quarter:]} {
		var rss, goroutines []int64
		for _, u := range part {
			rss, goroutines = append(rss, u.rss), append(goroutines, u.goroutines)
		}
		slices.Sort(rss)
		slices.Sort(goroutines)
		res.RSS[i], res.Goroutines[i] = rss[len(rss)/2], goroutines[len(goroutines)/2]
	}
	stops := 0.0
	if !res.CleanStops {
		stops = 1
	}
	res.Criteria = []Criterion{
		atMost("messages lost", float64(res.Lost), 0),
		atMost("messages out of order", float64(res.Disordered), 0),
		atMost("duplicates, of what the kills allow", float64(res.Duplicates), float64(res.Allowed)),
		atMost("memory of the worker that stays: last quarter, of the first", ratio(float64(res.RSS[1]), float64(res.RSS[0])), mostSoakGrowth),
		atMost("its goroutines: last quarter, of the first", ratio(float64(res.Goroutines[1]), float64(res.Goroutines[0])), mostSoakGrowth),
		atLeast("deliveries a second, of what was put", ratio(res.PerSecond, res.Rate*float64(res.destinations)), .97),
		atMost("stops that were not clean", stops, 0),
	}
}
