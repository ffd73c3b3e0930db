package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// gapsOf runs steps on a source whose stream keeps records for ten minutes, and
// returns what was noted of gaps. The clock begins at 2000-01-01 (946684800 s).
func gapsOf(t *testing.T, source pipeline.SourceConfig, steps func(f *timed)) (notes string) {
	synctest.Test(t, func(t *testing.T) {
		f := &timed{t: t, tape: newTape("s-1"), box: newInbox("a"), store: &checkpoint.Memory{}, source: source}
		f.tape.retention = 10 * time.Minute
		f.source.Source, f.source.Describe, f.source.Gap = f.tape, describeKeyed, f.notes.put
		f.source.Subscribers = []pipeline.Subscription{{Subscriber: f.box}}
		steps(f)
		notes = f.notes.take()
	})
	return notes
}

type timed struct {
	t      *testing.T
	tape   *tape
	box    *inbox
	store  checkpoint.Store
	source pipeline.SourceConfig
	notes  gapNotes
}

// run runs a worker for so long; meanwhile happens a second before its end.
func (f *timed) run(d time.Duration, meanwhile func()) {
	stop := runSource(f.t, f.store, f.source)
	time.Sleep(d - time.Second)
	if meanwhile != nil {
		meanwhile()
	}
	time.Sleep(time.Second)
	stop()
}

func TestGapAtATime(t *testing.T) {
	latest := pipeline.SourceConfig{Initial: pipeline.InitialLatest()}
	at := func(d time.Duration) pipeline.SourceConfig {
		return pipeline.SourceConfig{Initial: pipeline.InitialTime(time.Unix(946684800, 0).Add(d))}
	}
	const pinned = "AT_TIMESTAMP:946684795000" // 5 s before the first listing
	tests := []struct {
		name   string
		source pipeline.SourceConfig
		steps  func(f *timed)
		want   string
	}{
		{"latest, pinned before what was trimmed", latest, func(f *timed) {
			f.run(5*time.Second, nil)
			f.tape.put("s-1", "k 1")
			time.Sleep(time.Hour)
			f.tape.trim("s-1", 1)
			f.tape.put("s-1", "k 2")
			f.run(5*time.Second, nil)
		}, "tape s-1 from " + pinned + " to 2:0"},
		{"the record comes long after the reading began", latest, func(f *timed) {
			f.run(5*time.Second, nil)
			f.tape.put("s-1", "k 1")
			time.Sleep(time.Hour)
			f.tape.trim("s-1", 1)
			f.run(time.Hour, func() { f.tape.put("s-1", "k 2") })
		}, "tape s-1 from " + pinned + " to 2:0"},
		{"a time within the retention", at(-time.Minute), func(f *timed) {
			f.run(5*time.Second, nil)
			f.tape.put("s-1", "k 1")
			time.Sleep(time.Hour)
			f.tape.trim("s-1", 1)
			f.tape.put("s-1", "k 2")
			f.run(5*time.Second, nil)
		}, "tape s-1 from AT_TIMESTAMP:946684740000 to 2:0"},
		{"all that there is, at first sight and later", at(-24 * time.Hour), func(f *timed) {
			f.tape.put("s-1", "k 1")
			time.Sleep(time.Hour)
			f.tape.trim("s-1", 1)
			f.run(5*time.Second, nil)
			f.tape.put("s-1", "k 2")
			f.run(5*time.Second, nil)
		}, ""},
		{"the shard ended, and nothing is left", latest, func(f *timed) {
			f.run(5*time.Second, nil)
			f.tape.put("s-1", "k 1")
			f.tape.split("s-1", "s-2")
			time.Sleep(time.Hour)
			f.tape.trim("s-1", 1)
			f.tape.put("s-2", "k 2")
			f.run(time.Minute, nil)
		}, "tape s-1 from " + pinned + " to TRIM_HORIZON"},
		{"a child of a shard that stood at an old time", latest, func(f *timed) {
			f.run(time.Hour, nil)
			f.run(time.Minute, func() { f.tape.split("s-1", "s-2") })
			f.run(time.Minute, func() { f.tape.put("s-2", "k 1") })
			f.notes.take() // s-1 itself may have had something
			f.run(time.Minute, nil)
		}, ""},
		{"nothing came for long, and was read all the time", latest, func(f *timed) {
			f.run(time.Hour, func() { f.tape.put("s-1", "k 1") })
		}, ""},
		{"the reading began anew a moment after it had seen everything", latest, func(f *timed) {
			f.run(time.Hour, func() {
				f.tape.interrupt(10 * time.Minute)
				time.Sleep(time.Second)
				f.tape.put("s-1", "k 1")
			})
		}, ""},
		{"the reading began anew when too much time had passed", latest, func(f *timed) {
			f.run(3*time.Hour, func() {
				f.tape.setGone(true)
				f.tape.put("s-1", "k 1")
				time.Sleep(time.Hour)
				f.tape.trim("s-1", 1)
				f.tape.interrupt(10 * time.Minute)
				f.tape.setGone(false)
				time.Sleep(time.Minute)
				f.tape.put("s-1", "k 2")
			})
		}, "tape s-1 from " + pinned + " to 2:0"},
		{"the retention was raised after something had been trimmed", latest, func(f *timed) {
			f.tape.denied = true
			f.run(time.Hour, func() {
				f.tape.put("s-1", "k 1")
				time.Sleep(time.Hour)
				f.tape.trim("s-1", 1)
				f.tape.interrupt(24 * time.Hour)
				time.Sleep(time.Minute)
				f.tape.put("s-1", "k 2")
			})
		}, "tape s-1 from " + pinned + " to 2:0"},
		{"a subscription", latest, func(f *timed) {
			f.tape.slow = true
			f.run(5*time.Second, nil)
			f.tape.put("s-1", "k 1")
			time.Sleep(time.Hour)
			f.tape.trim("s-1", 1)
			f.tape.put("s-1", "k 2")
			f.run(5*time.Second, nil)
		}, "tape s-1 from " + pinned + " to 2:0"},
		{"the retention is not known", latest, func(f *timed) {
			f.tape.retention = 0
			f.run(5*time.Second, nil)
			f.tape.put("s-1", "k 1")
			time.Sleep(time.Hour)
			f.tape.trim("s-1", 1)
			f.tape.put("s-1", "k 2")
			f.run(5*time.Second, nil)
		}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := gapsOf(t, test.source, test.steps); got != test.want {
				t.Errorf("noted %q, want %q", got, test.want)
			}
		})
	}
}

// TestGapBesideTheOldest: somebody new begins at the oldest record, so that the
// reader cannot see that another one's place was trimmed; the first record can.
func TestGapBesideTheOldest(t *testing.T) {
	late := newInbox("late")
	withLate := func(f *timed, i pipeline.Initial) {
		f.source.Subscribers = append(f.source.Subscribers, pipeline.Subscription{Subscriber: late, Initial: i})
	}
	tests := []struct {
		name    string
		initial pipeline.Initial // of who is new
		trimmed int              // of three records, of which a has two
		want    string
	}{
		{"a's record is gone, and one more", pipeline.Initial{}, 3, "tape s-1 from 2:0 to 4:0"},
		{"a's record is gone", pipeline.Initial{}, 2, "tape s-1 from 2:0 to 3:0"},
		{"a's record is there", pipeline.Initial{}, 1, ""},
		{"a time that nothing is kept of is the oldest", pipeline.InitialTime(time.Unix(1, 0)), 2, "tape s-1 from 2:0 to 3:0"},
		{"a time that all is kept of", pipeline.InitialTime(time.Unix(946684800, 0).Add(time.Hour)), 1, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := gapsOf(t, pipeline.SourceConfig{}, func(f *timed) {
				f.tape.put("s-1", "k 1", "k 2")
				f.run(5*time.Second, nil)
				f.tape.put("s-1", "k 3")
				time.Sleep(time.Hour)
				f.tape.put("s-1", "k 4")
				f.tape.trim("s-1", test.trimmed)
				withLate(f, test.initial)
				f.run(5*time.Second, nil)
			})
			if got != test.want {
				t.Errorf("noted %q, want %q", got, test.want)
			}
		})
	}
}

// TestNoGapBehindOlderRecords: the service may keep a record for longer than it
// says. Behind one that arrived before a time nothing of that time is missing.
func TestNoGapBehindOlderRecords(t *testing.T) {
	got := gapsOf(t, pipeline.SourceConfig{}, func(f *timed) {
		f.tape.put("s-1", "k 1")
		time.Sleep(time.Hour)
		f.tape.put("s-1", "k 2")
		f.run(5*time.Second, nil)
		late := newInbox("late")
		late.setShut(true)
		f.source.Subscribers = append(f.source.Subscribers, pipeline.Subscription{Subscriber: late, Initial: pipeline.InitialTime(time.Now().Add(-time.Minute))})
		f.run(5*time.Second, nil)
		time.Sleep(time.Hour)
		late.setShut(false)
		f.run(5*time.Second, nil)
		expect(f.t, late, "k 2")
	})
	if got != "" {
		t.Errorf("noted %q, want nothing", got)
	}
}

// interrupt makes readers begin anew, lets them read, and sets the retention.
func (t *tape) interrupt(retention time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.anew++
	t.denied = false
	t.retention = retention
}
