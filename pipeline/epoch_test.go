package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// again makes the stream again under its name.
func (t *tape) again(shards ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lives++
	t.shards = newTape(shards...).shards
}

// setGone deletes the stream.
func (t *tape) setGone(gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = gone
}

// wake wakes an inbox for all it is attached to.
func (i *inbox) wake() {
	i.mu.Lock()
	var all []*pipeline.Cursor
	for c := range i.in {
		all = append(all, c)
	}
	i.mu.Unlock()
	for _, c := range all {
		i.Wake(c)
	}
}

// leasesIn says where each lease is, and whether somebody has it.
func leasesIn(t *testing.T, store checkpoint.Store) string {
	t.Helper()
	leases, err := store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range leases {
		owned := ""
		if l.Owner != "" {
			owned = " owned"
		}
		all = append(all, fmt.Sprintf("%s at %s%s", l.Key, l.Checkpoint, owned))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// TestStreamMadeAgain deletes the stream under a running worker and makes it
// again: the worker goes over to the new one by itself, gives the subscribers
// what it had read of the old one, and removes its leases; those of other
// streams stay.
func TestStreamMadeAgain(t *testing.T) {
	for _, tc := range []struct {
		name    string
		initial pipeline.Initial
	}{{"from the horizon", pipeline.Initial{}}, {"latest", pipeline.InitialLatest()}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, tape, a, b := &checkpoint.Memory{}, newTape("s-1", "s-2"), newInbox("a"), newInbox("b")
				others := []string{"111111111111:other:5:s-1", "222222222222:tape:0:s-1"}
				for _, key := range others {
					stream, shard, err := checkpoint.ParseLeaseKey(checkpoint.MultiStream, key)
					if err != nil {
						t.Fatal(err)
					}
					if err := store.Create(t.Context(), checkpoint.Lease{Key: key, Stream: stream, Shard: shard}); err != nil {
						t.Fatal(err)
					}
				}
				stop := runSource(t, store, pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Initial: tc.initial,
					Subscribers: []pipeline.Subscription{{Subscriber: a}, {Subscriber: b}}})
				time.Sleep(5 * time.Second)
				tape.put("s-1", "k 1", "k 2")
				time.Sleep(5 * time.Second)
				b.setShut(true)
				tape.put("s-1", "k 3")
				time.Sleep(5 * time.Second)
				expect(t, a, "k 1, k 2, k 3")
				expect(t, b, "k 1, k 2")

				tape.setGone(true)
				time.Sleep(3 * time.Minute)
				if got := leasesIn(t, store); !strings.Contains(got, "tape:1:s-1 at 2:0 owned") {
					t.Errorf("while the stream is deleted: %s", got)
				}
				tape.again("s-1")
				tape.put("s-1", "n 1", "n 2", "n 3", "n 4")
				tape.setGone(false)
				time.Sleep(20 * time.Second)
				expect(t, a, "n 1, n 2, n 3, n 4")
				if got := leasesIn(t, store); !strings.Contains(got, "tape:1:s-1 at 2:0 owned") || strings.Contains(got, "tape:1:s-2") {
					t.Errorf("while b has not settled what was read of the old stream: %s", got)
				}
				b.setShut(false)
				b.wake()
				time.Sleep(30 * time.Second)
				if got := b.take(); !strings.Contains(got, "k 3") || !strings.Contains(got, "n 1, n 2, n 3, n 4") {
					t.Errorf("b got %q", got)
				}
				want := "111111111111:other:5:s-1 at TRIM_HORIZON, 111111111111:tape:2:s-1 at 4:0 owned, 222222222222:tape:0:s-1 at TRIM_HORIZON"
				if got := leasesIn(t, store); got != want {
					t.Errorf("leases %s\nwant   %s", got, want)
				}
				stop()
				expect(t, a, "")
			})
		})
	}
}

// TestStreamMadeAgainBetweenReads: the next read would find the new stream under
// the old name and shard. Nothing of it counts for the old lease.
func TestStreamMadeAgainBetweenReads(t *testing.T) {
	for _, format := range []checkpoint.KeyFormat{checkpoint.MultiStream, checkpoint.SingleStream} {
		synctest.Test(t, func(t *testing.T) {
			store, tape, a := &checkpoint.Memory{}, newTape("s-1"), newInbox("a")
			start := func() func() {
				return runFormat(t, store, format, pipeline.SourceConfig{Source: tape, Describe: describeKeyed,
					Subscribers: []pipeline.Subscription{{Subscriber: a}}})
			}
			stop := start()
			tape.put("s-1", "k 1", "k 2", "k 3")
			time.Sleep(5 * time.Second)
			tape.again("s-1")
			tape.put("s-1", "n 1", "n 2", "n 3", "n 4", "n 5")
			time.Sleep(30 * time.Second)
			expect(t, a, "k 1, k 2, k 3, n 1, n 2, n 3, n 4, n 5")
			stop()

			// The same while no worker runs.
			tape.again("s-1")
			tape.put("s-1", "m 1")
			stop = start()
			time.Sleep(30 * time.Second)
			stop()
			expect(t, a, "m 1")
			leases, err := store.List(t.Context())
			if err != nil || len(leases) != 1 || leases[0].Stream != "111111111111:tape:3" || leases[0].Checkpoint != checkpoint.Number("1", 0) {
				t.Errorf("%s: leases %+v, %v", format, leases, err)
			}
		})
	}
}

// TestStreamMadeAgainWhileNobodyRuns: leases of the stream's earlier life tell
// that its new one is not older than the application, which has missed what is
// in it: latest is its beginning.
func TestStreamMadeAgainWhileNobodyRuns(t *testing.T) {
	for _, format := range []checkpoint.KeyFormat{checkpoint.MultiStream, checkpoint.SingleStream} {
		synctest.Test(t, func(t *testing.T) {
			store, tape, a := &checkpoint.Memory{}, newTape("s-1"), newInbox("a")
			start := func() func() {
				return runFormat(t, store, format, pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Initial: pipeline.InitialLatest(),
					Subscribers: []pipeline.Subscription{{Subscriber: a}}})
			}
			tape.put("s-1", "o 1")
			time.Sleep(time.Hour)
			stop := start()
			time.Sleep(10 * time.Second)
			tape.put("s-1", "k 1")
			time.Sleep(5 * time.Second)
			stop()
			expect(t, a, "k 1")
			tape.again("s-1")
			tape.put("s-1", "n 1")
			time.Sleep(time.Hour)
			stop = start()
			time.Sleep(30 * time.Second)
			tape.put("s-1", "n 2")
			time.Sleep(10 * time.Second)
			stop()
			expect(t, a, "n 1, n 2")
		})
	}
}
