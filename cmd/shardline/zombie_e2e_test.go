package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// TestSuspendedWorker stops the process of a busy worker (SIGSTOP) until
// another one has had its shards for three fail-over times, and lets it go on:
// it starts nothing on the strength of leases that it no longer has, saves
// nothing, and says so.
func TestSuspendedWorker(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 4)
	quick, slow := s.receiver("quick"), s.receiver("slow").slow(10*time.Millisecond)
	config := s.config(settings{failover: 2 * time.Second})
	s.some(600, 40)
	stopFeeding := s.keepFeeding(4, 40, 20*time.Millisecond)
	first := s.start(config)
	slow.awaitCount(t, 50)
	s.awaitLeases("a lone worker owns every shard", ownedBy(4, first))
	second := s.start(config)
	for round := range 2 {
		s.awaitLeases("they share", ownedBy(2, first, second))
		victim, other := first, second
		if round%2 == 1 {
			victim, other = second, first
		}
		before := slow.count()
		slow.awaitCount(t, before+20)
		victim.signal(syscall.SIGSTOP)
		s.awaitLeases("the other one has everything", ownedBy(4, other))
		before = quick.count()
		quick.awaitCount(t, before+50)
		taken := s.awaitLeases("for three fail-over times", renewedTimes(11, s))
		lost, goesOn := victim.count(`"lease lost"`), time.Now()
		victim.signal(syscall.SIGCONT)
		await(t, "it says that it lost its leases", func() error {
			if n := victim.count(`"lease lost"`) - lost; n < 2 {
				return fmt.Errorf("%s has lost %d leases of 2", victim.name, n)
			}
			return nil
		})
		s.awaitLeases("they share again", ownedBy(2, first, second))
		s.checkZombie(victim, goesOn, taken)
	}
	stopFeeding()
	s.awaitThrough(quick, slow)
	first.stop()
	second.stop()
	for _, r := range s.receivers {
		s.check(r)
	}
}

// renewedTimes says that every lease was renewed so often since the call.
func renewedTimes(n int64, s *scene) func([]checkpoint.Lease) error {
	counters := make(map[string]int64)
	return func(leases []checkpoint.Lease) error {
		for _, l := range leases {
			if _, known := counters[l.Key]; !known {
				counters[l.Key] = l.Counter
			}
			if l.Counter < counters[l.Key]+n {
				return fmt.Errorf("lease %s was renewed %d times", l.Key, l.Counter-counters[l.Key])
			}
		}
		return nil
	}
}

// checkZombie looks at what a worker did that went on after others had taken
// its leases: until it took some again it made no attempt, and those that it
// had lost stood as their new owner left them, with a checkpoint that only grew.
func (s *scene) checkZombie(victim *process, goesOn time.Time, taken []checkpoint.Lease) {
	s.t.Helper()
	var again time.Time
	await(s.t, victim.name+" says that it has a lease again", func() error {
		if again = victim.loggedAt("lease taken", goesOn); again.Sub(goesOn) >= time.Hour {
			return errors.New("no such line")
		}
		return nil
	})
	for _, r := range s.receivers {
		for _, q := range r.all() {
			if q.worker == victim.name && q.time.After(goesOn) && q.time.Before(again) {
				s.t.Errorf("%s attempts %s of %s %s after it went on, %s before it has a lease again", victim.name, q.sequence, q.key,
					q.time.Sub(goesOn), again.Sub(q.time))
			}
		}
	}
	leases, err := s.leases()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range leases {
		i := slices.IndexFunc(taken, func(was checkpoint.Lease) bool { return was.Key == l.Key })
		if was := taken[i]; l.Counter < was.Counter || l.Checkpoint.Compare(was.Checkpoint) < 0 {
			s.t.Errorf("lease %s went back from %s (counter %d) to %s (counter %d)", l.Key, was.Checkpoint, was.Counter, l.Checkpoint, l.Counter)
		}
	}
}

// TestSharedWorkerID starts a second process under a worker_id that is in use:
// it takes nothing, gives way and says why. One that is started when the first
// was killed takes the leases, and the order is kept.
func TestSharedWorkerID(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	r := s.receiver("channel").slow(2 * time.Millisecond)
	config := s.config(settings{})
	s.some(300, 20)
	first := s.start(config)
	r.awaitCount(t, 20)
	stopFeeding := s.keepFeeding(2, 20, 20*time.Millisecond)
	second := s.start(config, "TEST_WORKER="+first.name)
	second.awaitExit(1)
	if second.logged("another process works under this worker's id") == "" || second.logged("lease taken") != "" {
		t.Errorf("the second process said\n%s", second.tail(20))
	}
	n := r.count()
	r.awaitCount(t, n+200)
	first.kill()
	first.awaitEnd()
	third := s.start(config, "TEST_WORKER="+first.name)
	third.awaitLog("lease taken")
	stopFeeding()
	s.awaitThrough(r)
	third.stop()
	s.check(r)
}

// TestLatest begins at the tip when the application is new, and a crash before
// the first positions are saved skips nothing that came since.
func TestLatest(t *testing.T) {
	t.Parallel()
	for _, at := range []string{afterTake + ":1", beforeRosterSave + ":1", beforeAttempt + ":1", beforeSave + ":1"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, localaws.Config{}, 1)
			r := s.receiver("channel")
			config := s.config(settings{initial: "latest"})
			crashes := s.start(config, envCrash+"="+at)
			leases := s.awaitLeases("a lease", func([]checkpoint.Lease) error { return nil })
			if _, pinned := leases[0].Checkpoint.Time(); !pinned && !leases[0].Checkpoint.IsNumber() {
				t.Errorf("latest is not pinned to a time: %s", leases[0].Checkpoint)
			}
			s.some(50, 10)
			crashes.awaitSignal(syscall.SIGKILL)
			s.some(50, 10)
			fresh := s.start(config)
			s.awaitThrough(r)
			fresh.stop()
			s.check(r)
		})
	}
}

// TestTrimmed says that there may be a gap when the stream has trimmed what was
// not read, and goes on with what is left.
func TestTrimmed(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	r := s.receiver("channel")
	config := s.config(settings{failover: 10 * time.Second})
	s.some(30, 5)
	p := s.start(config)
	s.awaitThrough(r)
	p.stop()
	for range 10 { // lost to the stream's retention
		if _, _, err := s.aws.Put(s.streams[0].arn, "k", []byte("trimmed")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.aws.TrimShard(s.streams[0].arn, shardID(0), "LATEST"); err != nil {
		t.Fatal(err)
	}
	s.some(30, 5)
	p = s.start(config)
	s.awaitThrough(r)
	p.awaitLog(`"level":"error"`, "possible gap", `"source":"hotels-0"`, `"shard":"`+shardID(0)+`"`)
	if v := p.sample(`shardline_pipeline_gaps_total{source="hotels-0"}`); v != "1" {
		t.Errorf("the metric of gaps is %q, want 1", v)
	}
	p.stop()
	letters := s.letters()
	if len(letters) != 1 || letters[0].Gap == nil {
		t.Fatalf("letters %+v, want one gap", letters)
	}
	l, after := letters[0], ""
	for _, q := range r.all()[30:] {
		if after == "" || q.sequence < after {
			after = q.sequence
		}
	}
	if l.Gap.To != after+":0" || l.Gap.From == "" || l.Gap.Until == nil ||
		l.Destination != "" || l.Source != "hotels-0" || l.Shard != shardID(0) || l.Reason != "possible_gap" || len(l.Data) != 0 {
		t.Errorf("letter %+v, gap %+v, want it to end at %s", l, l.Gap, after)
	}
	if result := s.check(r); result.Duplicates != 0 {
		t.Errorf("%d duplicates", result.Duplicates)
	}
}

// TestStreamMadeAgain deletes a stream under running workers, and makes another
// one under its name, with other shards: they go over to it by themselves, read
// it from its beginning under leases of its own, and the old leases go.
func TestStreamMadeAgain(t *testing.T) {
	t.Parallel()
	for _, format := range []checkpoint.KeyFormat{checkpoint.MultiStream, checkpoint.SingleStream} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, localaws.Config{}, 2)
			s.format = format
			r := s.receiver("channel")
			config := s.config(settings{failover: 3 * time.Second, leases: "key_format: " + string(format)})
			s.some(30, 10)
			one, two := s.start(config), s.start(config)
			await(t, "the first one is ready, too", func() error {
				if status, state := one.readiness(); status != http.StatusOK {
					return errors.New(state.Reason)
				}
				return nil
			})
			s.awaitThrough(r)
			st := s.streams[0]
			if err := s.aws.DeleteStream(st.arn); err != nil {
				t.Fatal(err)
			}
			one.awaitSource(st.name, "down", "no such stream")
			if _, err := s.aws.CreateStream(st.account, testRegion, st.name, 1); err != nil {
				t.Fatal(err)
			}
			s.some(30, 10)
			s.awaitThrough(r)
			one.awaitSource(st.name, "up")
			leases := s.awaitLeases("the leases are the new stream's alone", func(leases []checkpoint.Lease) error {
				if len(leases) != 1 {
					return fmt.Errorf("%d leases", len(leases))
				}
				return nil
			})
			if _, name, _, err := checkpoint.ParseStreamID(leases[0].Stream); err != nil || name != st.name {
				t.Errorf("lease %+v: %v", leases[0], err)
			}
			one.awaitLog("the stream was deleted and made again", st.name)
			two.awaitLog("the stream was deleted and made again", st.name)
			one.stop()
			two.stop()
			if result := s.check(r); result.Duplicates != 0 {
				t.Errorf("%d duplicates", result.Duplicates)
			}
		})
	}
}

// TestWindow fills the memory with the records of one source, whose only
// destination hangs: its lease is kept, the bound too, and the other source
// goes on.
func TestWindow(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{Unlimited: true}, 1, 1)
	hangs, well := s.receiver("hangs"), s.receiver("well")
	hangs.behaves(func(*request) reply {
		return reply{instead: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
	})
	big := make([]byte, 1<<20)
	for i := range 40 {
		if _, _, err := s.aws.Put(s.streams[0].arn, fmt.Sprint(i), big); err != nil {
			t.Fatal(err)
		}
	}
	const window = 4 << 20
	p := s.start(s.config(settings{failover: 3 * time.Second, window: "4MiB", drain: time.Second, delivery: "timeout: 10m",
		sources: []sourceSettings{{stream: s.streams[0], subscribers: "[hangs]"}, {stream: s.streams[1], subscribers: "[well]"}}}))
	hangs.awaitCount(t, 1)
	for range 4 { // each a good part of a fail-over time
		s.some(50, 10, s.streams[1])
		s.awaitThrough(well)
		var bytes float64
		if _, err := fmt.Sscan(p.sample("shardline_pipeline_window_bytes"), &bytes); err != nil {
			t.Fatal(err)
		}
		if most := float64(window + 2*(10<<20)); bytes > most {
			t.Errorf("the window holds %.0f bytes, the bound is %.0f", bytes, most)
		}
		out, _ := s.leases()
		counters := make(map[string]int64)
		for _, l := range out {
			counters[l.Key] = l.Counter
		}
		s.awaitLeases("both leases are renewed", func(leases []checkpoint.Lease) error {
			for _, l := range leases {
				if l.Counter < counters[l.Key]+2 || l.Owner != p.name {
					return fmt.Errorf("%s: counter %d, then %d, owner %s", l.Key, counters[l.Key], l.Counter, l.Owner)
				}
			}
			return nil
		})
	}
	if line := p.logged("lease lost"); line != "" {
		t.Error(line)
	}
	read := p.sample(`shardline_consumers_records_total{shard="` + shardID(0) + `",source="` + s.streams[0].name + `"}`)
	if n, err := strconv.Atoi(read); err != nil || n > 20 {
		t.Errorf("%s records were read: more than the window holds", read)
	}
	p.stop()
	s.check(well)
}

// TestStopWithoutATable stops a worker that cannot reach its lease table: one
// that has never reached it, and a busy one. Both end cleanly, and soon.
func TestStopWithoutATable(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	r := s.receiver("channel").slow(5 * time.Millisecond)
	config := s.config(settings{failover: 2 * time.Second})
	s.some(200, 10)
	away := func() {
		if _, err := s.aws.AddFault(localaws.Fault{Operation: "dynamodb.*", Kind: localaws.DropBefore}); err != nil {
			t.Fatal(err)
		}
	}
	away()
	never := s.start(config)
	never.awaitLog("lease table", "trying again")
	if status, state := never.readiness(); status != 503 || state.Ready || state.Reason == "" {
		t.Errorf("/readyz without a table: %d %+v", status, state)
	}
	began := time.Now()
	never.signal(syscall.SIGINT)
	never.awaitExit(0)
	s.aws.ClearFaults()

	busy := s.start(config)
	r.awaitCount(t, 20)
	away()
	busy.stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the stops took %s", took)
	}
	s.aws.ClearFaults()
	last := s.start(config)
	s.awaitThrough(r)
	last.stop()
	s.check(r)
}
