package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// wanted is a desired state with everything in it.
func wanted(version int64) checkpoint.Desired {
	at := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	order := checkpoint.Order{Version: version, Command: "c-1", At: at, By: "ann@host", Reason: "a \"move\" – Umzug"}
	return checkpoint.Desired{
		Version: version,
		Destinations: map[string]checkpoint.Wish{
			"a": {Pause: &order, Hold: &order, Keys: map[string]checkpoint.Order{"hotel 1": order, "": order}},
			"b": {Replay: &checkpoint.Replay{Order: order, From: checkpoint.At(at), Set: version}},
			"c": {Replay: &checkpoint.Replay{Order: order, Leases: map[string]checkpoint.Position{"x:y:shardId-0": checkpoint.Number("17", 3), "x:y:shardId-1": checkpoint.TrimHorizon}}},
			"d": {Removal: &checkpoint.Removal{Order: order, Set: version}},
			"e": {Replayed: &checkpoint.Replayed{Command: "c-0", Until: at}},
		},
		Commands: []checkpoint.Given{{ID: "c-1", Version: version, Verb: checkpoint.PauseVerb, Destinations: []string{"a"}, Keys: []string{"k"}, At: at, By: "ann@host"}},
	}
}

// desired: what was written is read, and each version replaces the one before.
func desired(t *testing.T, s checkpoint.Store) {
	ctx := t.Context()
	got, err := s.Desired(ctx)
	must(t, err)
	if !reflect.DeepEqual(got, checkpoint.Desired{}) {
		t.Errorf("before the first command: %+v", got)
	}
	want(t, "a second version first", s.SetDesired(ctx, 1, wanted(2)), checkpoint.ErrConflict)
	must(t, s.SetDesired(ctx, 0, wanted(7))) // the version may leap
	got, err = s.Desired(ctx)
	must(t, err)
	if !reflect.DeepEqual(got, wanted(7)) {
		t.Errorf("read\n%+v, want\n%+v", got, wanted(7))
	}
	want(t, "the first once more", s.SetDesired(ctx, 0, wanted(1)), checkpoint.ErrConflict)
	want(t, "over another version", s.SetDesired(ctx, 6, wanted(8)), checkpoint.ErrConflict)
	must(t, s.SetDesired(ctx, 7, checkpoint.Desired{Version: 8}))
	got, err = s.Desired(ctx)
	must(t, err)
	if got.Version != 8 || len(got.Destinations) > 0 || len(got.Commands) > 0 {
		t.Errorf("emptied: %+v", got)
	}
	large := wanted(9)
	for i := range 300 {
		large.Destinations[fmt.Sprint("d", i)] = checkpoint.Wish{Pause: &checkpoint.Order{Reason: strings.Repeat("x", 1000)}}
	}
	want(t, "300 kB", s.SetDesired(ctx, 8, large), checkpoint.ErrTooLarge)
	got, err = s.Desired(ctx)
	must(t, err)
	if got.Version != 8 {
		t.Errorf("version %d after what was too large", got.Version)
	}
}

// desiredRaces: of fifty commanders at once each takes effect once.
func desiredRaces(t *testing.T, s checkpoint.Store) {
	const many = 20
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			for {
				_, err := checkpoint.Give(t.Context(), s, checkpoint.Command{ID: fmt.Sprint("c-", i), Verb: checkpoint.PauseVerb, Destinations: []string{fmt.Sprint("d-", i)}}, time.Now())
				if err == nil {
					return
				}
				t.Logf("%d tries again: %v", i, err)
			}
		})
	}
	all.Wait()
	got, err := s.Desired(t.Context())
	must(t, err)
	if got.Version != many || len(got.Destinations) != many || len(got.Commands) != many {
		t.Errorf("version %d, %d destinations, %d commands after %d of them", got.Version, len(got.Destinations), len(got.Commands), many)
	}
}

// acknowledged: the number is saved, kept by renewals and takes, and listed.
func acknowledged(t *testing.T, s checkpoint.Store) {
	ctx := t.Context()
	l := held(t, s, "shardId-0")
	saved := checkpoint.Saved{Checkpoint: number(1), Acknowledged: 5}
	l, err := s.Renew(ctx, l, &saved)
	must(t, err)
	read(t, s, "saved", l)
	if l.Acknowledged != 5 {
		t.Errorf("acknowledged %d, want 5", l.Acknowledged)
	}
	l, err = s.Renew(ctx, l, nil)
	must(t, err)
	must(t, s.Release(ctx, l, &checkpoint.Saved{Checkpoint: number(1), Acknowledged: 6}))
	l, err = s.Get(ctx, l.Key)
	must(t, err)
	l, err = s.Take(ctx, l, "worker-b", "tenure-b")
	must(t, err)
	read(t, s, "taken", l)
	if l.Acknowledged != 6 {
		t.Errorf("acknowledged %d, want 6", l.Acknowledged)
	}
	again := lease("shardId-again")
	again.Acknowledged, again.Checkpoint = 9, checkpoint.ShardEnd
	must(t, s.Create(ctx, again))
	read(t, s, "created", again)
	all, err := s.ListNow(ctx)
	must(t, err)
	if len(all) != 2 {
		t.Fatalf("%d leases, want 2", len(all))
	}
	for _, got := range all {
		if got.Key == l.Key {
			same(t, "ListNow", got, l)
		} else {
			same(t, "ListNow", got, again)
		}
	}
}
