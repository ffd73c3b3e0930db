package pipeline_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// watched is a flying inbox that counts how often it is disturbed.
type watched struct {
	*flying
	drained, detached int
}

func (w *watched) Drain(ctx context.Context, c *pipeline.Cursor) error {
	w.drained++
	return w.flying.Drain(ctx, c)
}

func (w *watched) Detach(c *pipeline.Cursor) {
	w.detached++
	w.flying.Detach(c)
}

// TestCommandsAreForOneAlone commands one of two destinations in every way, while
// the other one has a record in flight: that goes on, other keys are delivered, and
// the shard's reading is never made anew (P4).
func TestCommandsAreForOneAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}, window: 64 << 20}
		d := &holdable{inbox: newInbox("d")}
		e := &watched{flying: &flying{inbox: newInbox("e"), key: "a", lands: make(chan struct{})}}
		stop := f.start(pipeline.Initial{}, d, e)
		f.tape.put("s", "b 0", "a 1", "a 2")
		settle(5 * time.Second)
		expect(t, e.inbox, "b 0, a 1")
		began := time.Now()
		for _, step := range []struct {
			name    string
			command func() int64
			of      string // what d gets of it, and of the record that comes after it
		}{
			{"pause", func() int64 { return order(t, f.store, checkpoint.PauseVerb).Version }, "b 0, a 1, a 2"},
			{"resume", func() int64 { return order(t, f.store, checkpoint.ResumeVerb).Version }, "b pause, b resume"},
			{"hold", func() int64 { return order(t, f.store, checkpoint.HoldVerb, "k").Version }, "b hold"},
			{"replay", func() int64 { return replay(t, f.store, checkpoint.At(began)).Version }, "b pause, b resume, b hold, b replay"},
			{"remove", func() int64 { return order(t, f.store, checkpoint.RemoveVerb).Version }, ""},
		} {
			version := step.command()
			settle(10 * time.Second)
			f.tape.put("s", "b "+step.name)
			settle(20 * time.Second)
			obeyed(t, f.store, version)
			expect(t, e.inbox, "b "+step.name)
			if step.name == "remove" {
				d.take() // it is new again when it has left, and has no other start than the oldest record
			} else {
				expect(t, d.inbox, step.of)
			}
			if n := f.tape.readers(); n != 1 {
				t.Errorf("%s: the shard was read anew: %d readers", step.name, n)
			}
			if e.drained+e.detached > 0 || e.cancelled {
				t.Errorf("%s: the other one was drained %d times, detached %d times, cancelled: %t", step.name, e.drained, e.detached, e.cancelled)
			}
		}
		close(e.lands)
		settle(5 * time.Second)
		expect(t, e.inbox, "a 2")
		stop()
	})
}
