package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// gapNotes collects the notes of gaps, after so many failures.
type gapNotes struct {
	failures int
	notes    []string
}

func (g *gapNotes) put(_ context.Context, shard pipeline.ShardInfo, gap pipeline.Gap) error {
	if g.failures > 0 {
		g.failures--
		return errors.New("no space left on device")
	}
	certain := ""
	if gap.Certain {
		certain = " certain"
	}
	g.notes = append(g.notes, fmt.Sprintf("%s %s from %s to %s%s", shard.Source, shard.Shard, gap.From, gap.To, certain))
	return nil
}

func (g *gapNotes) take() string {
	text := strings.Join(g.notes, ", ")
	g.notes = nil
	return text
}

// TestGap: what the stream has trimmed is noted once in a tenure, before
// anything behind it is delivered, and the checkpoint goes on.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a, notes := &checkpoint.Memory{}, newTape("s-1"), newInbox("a"), &gapNotes{}
		source := pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Gap: notes.put,
			Subscribers: []pipeline.Subscription{{Subscriber: a}}}
		tape.put("s-1", "k 1", "k 2")
		stop := runSource(t, store, source)
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "k 1, k 2")
		tape.put("s-1", "k 3", "k 4", "k 5")
		tape.trim("s-1", 4)
		notes.failures = 3
		stop = runSource(t, store, source)
		time.Sleep(1900 * time.Millisecond) // tries after 0, 0.5, 1.5 and 3.5 s
		synctest.Wait()
		expect(t, a, "")
		if at, want := checkpointOf(t, store), checkpoint.Number("2", 0); at != want {
			t.Errorf("checkpoint %s before the note is durable, want %s", at, want)
		}
		time.Sleep(10 * time.Second)
		expect(t, a, "k 5")
		if got, want := notes.take(), "tape s-1 from 2:0 to 5:0"; got != want {
			t.Errorf("notes %q, want %q", got, want)
		}
		stop()
		if at, want := checkpointOf(t, store), checkpoint.Number("5", 0); at != want {
			t.Errorf("checkpoint %s, want %s", at, want)
		}
	})
}

// TestGapBehind: when a subscriber stood before the checkpoint, and the stream
// has trimmed both, it is certain that it lost something.
func TestGapBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a, b, notes := &checkpoint.Memory{}, newTape("s-1"), newInbox("a"), newInbox("b"), &gapNotes{}
		source := pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Gap: notes.put,
			Subscribers: []pipeline.Subscription{{Subscriber: a}, {Subscriber: b}}}
		tape.put("s-1", "k 1", "k 2")
		stop := runSource(t, store, source)
		time.Sleep(5 * time.Second)
		b.setShut(true)
		tape.put("s-1", "k 3", "k 4")
		time.Sleep(5 * time.Second)
		stop() // a at 4, b behind at 2
		tape.put("s-1", "k 5", "k 6")
		tape.trim("s-1", 5)
		b.setShut(false)
		stop = runSource(t, store, source)
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "k 1, k 2, k 3, k 4, k 6")
		expect(t, b, "k 1, k 2, k 6")
		got := strings.Split(notes.take(), ", ")
		slices.Sort(got) // a reads the shard log, b is behind
		if want := []string{"tape s-1 from 2:0 to 6:0 certain", "tape s-1 from 4:0 to 6:0"}; !slices.Equal(got, want) {
			t.Errorf("notes %q, want %q", got, want)
		}
	})
}

// TestGoneBeforeItsEnd: a shard that is trimmed with what was not read is a
// gap without an end, and its children go on.
func TestGoneBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a, notes := &checkpoint.Memory{}, newTape("s-1"), newInbox("a"), &gapNotes{}
		source := pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Gap: notes.put,
			Subscribers: []pipeline.Subscription{{Subscriber: a}}}
		tape.put("s-1", "k 1", "k 2")
		stop := runSource(t, store, source)
		time.Sleep(5 * time.Second)
		stop()
		tape.put("s-1", "k 3")
		tape.split("s-1", "s-2", "s-3")
		tape.put("s-2", "k 4")
		tape.forget("s-1")
		stop = runSource(t, store, source)
		time.Sleep(time.Minute)
		stop()
		expect(t, a, "k 1, k 2, k 4")
		if got, want := notes.take(), "tape s-1 from 2:0 to TRIM_HORIZON"; got != want {
			t.Errorf("notes %q, want %q", got, want)
		}
	})
}

// trim lets go of a shard's first n records.
func (t *tape) trim(shard string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shards[shard].trimmed = n
}

// forget lets go of a shard.
func (t *tape) forget(shard string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.shards, shard)
}

// gapOf is the gap of a reading that began at record number next+1, of which
// the first is left.
func (s *tapeShard) gapOf(next int) *pipeline.Gap {
	if next < 0 || next >= s.trimmed || s.trimmed >= len(s.records) {
		return nil
	}
	return &pipeline.Gap{From: checkpoint.Number(fmt.Sprint(next+1), 0), To: s.records[s.trimmed].Position}
}

// left are the records from next on that are not trimmed.
func (s *tapeShard) left(next int) []pipeline.Record {
	return slices.Clone(s.records[min(max(next, s.trimmed), len(s.records)):])
}
