// Package storetest is the conformance suite of checkpoint.Store: what every
// store must do, whatever it keeps leases in. A store passes when Run does.
package storetest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shardline/shardline/checkpoint"
)

// Stream is the stream of the suite's leases: open's store must use multi-stream
// keys.
const Stream = "111111111111:hotels:1700000000"

// Run runs the suite. open gives a new, empty, prepared store each time.
func Run(t *testing.T, open func(t *testing.T) checkpoint.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s checkpoint.Store)
	}{
		{"First", first}, {"Create", create}, {"Take", take}, {"Renew", renew}, {"Release", release}, {"Ask", ask},
		{"Handoff", handoff}, {"SetChildren", setChildren}, {"Delete", remove}, {"Positions", positions},
		{"Switches", switches}, {"Roster", roster}, {"Behind", behind}, {"ManyBehind", manyBehind},
		{"OverflowFollowsTheLease", overflowMoves}, {"Races", races}, {"Conditions", conditions},
		{"Desired", desired}, {"DesiredRaces", desiredRaces}, {"Acknowledged", acknowledged},
		{"CopiesInAndOut", copies}, {"List", list}, {"Canceled", canceled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// lease is a fresh lease of the suite's stream.
func lease(shard string) checkpoint.Lease {
	return checkpoint.NewLease(checkpoint.MultiStream, Stream, checkpoint.Shard{
		ID: shard, Parents: []string{"shardId-p1", "shardId-p2"}, HashFrom: "0", HashTo: "340282366920938463463374607431768211455",
	}, checkpoint.TrimHorizon)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Errorf("%s: error %v, want %v", what, err, sentinel)
	}
}

// same compares leases; nil and empty maps and slices are the same.
func same(t *testing.T, what string, got, want checkpoint.Lease) {
	t.Helper()
	if !got.Saved.Equal(want.Saved) {
		t.Errorf("%s: saved\n%+v, want\n%+v", what, got.Saved, want.Saved)
	}
	got.Saved, want.Saved = checkpoint.Saved{}, checkpoint.Saved{}
	for _, l := range []*checkpoint.Lease{&got, &want} {
		l.Parents, l.Children = append([]string{}, l.Parents...), append([]string{}, l.Children...)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: lease\n%+v, want\n%+v", what, got, want)
	}
}

// read holds Get and List against what a write returned.
func read(t *testing.T, s checkpoint.Store, what string, want checkpoint.Lease) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Key)
	must(t, err)
	same(t, what+", Get", got, want)
	all, err := s.List(t.Context())
	must(t, err)
	i := slices.IndexFunc(all, func(l checkpoint.Lease) bool { return l.Key == want.Key })
	if i < 0 {
		t.Fatalf("%s: not in List", what)
	}
	same(t, what+", List", all[i], want)
}

// held makes a lease and takes it.
func held(t *testing.T, s checkpoint.Store, shard string) checkpoint.Lease {
	t.Helper()
	l := lease(shard)
	must(t, s.Create(t.Context(), l))
	l, err := s.Take(t.Context(), l, "worker-a", "tenure-1")
	must(t, err)
	return l
}

// first: the first proposal decides, also when several come at once.
func first(t *testing.T, s checkpoint.Store) {
	none, err := s.First(t.Context(), Stream, nil)
	must(t, err)
	if len(none) != 0 {
		t.Errorf("without a proposal: %v", none)
	}
	answers := make([]map[string]checkpoint.Position, 8)
	var g errgroup.Group
	for i := range answers {
		g.Go(func() (err error) {
			answers[i], err = s.First(t.Context(), Stream, map[string]checkpoint.Position{
				fmt.Sprint("shardId-", i): checkpoint.At(time.UnixMilli(int64(i))), "shardId-x": number(i)})
			return err
		})
	}
	must(t, g.Wait())
	for i, a := range answers {
		if len(a) != 2 || !maps.Equal(a, answers[0]) {
			t.Errorf("proposal %d is told %v, the one before it %v", i, a, answers[0])
		}
	}
	later, err := s.First(t.Context(), Stream, nil)
	must(t, err)
	if !maps.Equal(later, answers[0]) {
		t.Errorf("without a proposal: %v, want %v", later, answers[0])
	}
	other, err := s.First(t.Context(), "222222222222:other:1", map[string]checkpoint.Position{"shardId-0": checkpoint.TrimHorizon})
	must(t, err)
	if len(other) != 1 || other["shardId-0"] != checkpoint.TrimHorizon {
		t.Errorf("another stream: %v", other)
	}
}

func create(t *testing.T, s checkpoint.Store) {
	l := lease("shardId-0")
	l.Saved = checkpoint.Saved{Checkpoint: checkpoint.ShardEnd, Roster: []string{"a", "b"}, Behind: map[string]checkpoint.Entry{"b": {At: number(7)}}}
	must(t, s.Create(t.Context(), l))
	read(t, s, "created", l)
	want(t, "create again", s.Create(t.Context(), lease("shardId-0")), checkpoint.ErrExists)
	read(t, s, "created, after a second create", l)

	owned := lease("shardId-1")
	owned.Owner, owned.Counter, owned.Tenure, owned.Switches, owned.HandingOver = "x", 9, "t", 3, "y"
	must(t, s.Create(t.Context(), owned))
	read(t, s, "created without owner", lease("shardId-1"))

	bare := checkpoint.Lease{Key: checkpoint.LeaseKey(checkpoint.MultiStream, Stream, "shardId-2"), Stream: Stream, Shard: "shardId-2"}
	must(t, s.Create(t.Context(), bare))
	read(t, s, "created bare", bare)
	_, err := s.Get(t.Context(), lease("shardId-3").Key)
	want(t, "get what is not there", err, checkpoint.ErrNotFound)
}

func take(t *testing.T, s checkpoint.Store) {
	l := lease("shardId-0")
	must(t, s.Create(t.Context(), l))
	first, err := s.Take(t.Context(), l, "worker-a", "tenure-1")
	must(t, err)
	expect := l.Clone()
	expect.Owner, expect.Tenure, expect.Counter = "worker-a", "tenure-1", 1
	same(t, "taken", first, expect)
	read(t, s, "taken", expect)

	_, err = s.Take(t.Context(), l, "worker-b", "tenure-2")
	want(t, "take as seen before", err, checkpoint.ErrConflict)
	again, err := s.Take(t.Context(), first, "worker-a", "tenure-3")
	must(t, err)
	expect.Tenure, expect.Counter = "tenure-3", 2
	same(t, "taken again by its owner: no switch", again, expect)
	stolen, err := s.Take(t.Context(), again, "worker-b", "tenure-4")
	must(t, err)
	expect.Owner, expect.Tenure, expect.Counter, expect.Switches = "worker-b", "tenure-4", 3, 1
	same(t, "taken by another", stolen, expect)
	read(t, s, "taken by another", expect)
	_, err = s.Take(t.Context(), lease("shardId-none"), "worker-a", "tenure-1")
	want(t, "take what is not there", err, checkpoint.ErrConflict)
}

func renew(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	next, err := s.Renew(t.Context(), l, nil)
	must(t, err)
	expect := l.Clone()
	expect.Counter++
	same(t, "renewed", next, expect)
	read(t, s, "renewed", expect)
	_, err = s.Renew(t.Context(), l, nil)
	want(t, "renew with an old counter", err, checkpoint.ErrConflict)

	save := checkpoint.Saved{Checkpoint: number(5), Roster: []string{"a"}}
	next, err = s.Renew(t.Context(), next, &save)
	must(t, err)
	expect.Counter, expect.Saved = expect.Counter+1, save
	same(t, "saved", next, expect)
	read(t, s, "saved", expect)
	next, err = s.Renew(t.Context(), next, nil)
	must(t, err)
	expect.Counter++
	read(t, s, "a bare renewal keeps the positions", expect)
	for _, kBps := range []float64{1234.5, 0.1, 0} {
		next.Throughput = kBps
		next, err = s.Renew(t.Context(), next, nil)
		must(t, err)
		expect.Counter, expect.Throughput = expect.Counter+1, kBps
		same(t, "renewed with a throughput", next, expect)
		read(t, s, "renewed with a throughput", expect)
	}

	taken, err := s.Take(t.Context(), next, "worker-b", "tenure-2")
	must(t, err)
	_, err = s.Renew(t.Context(), next, &checkpoint.Saved{Checkpoint: number(99)})
	want(t, "renew after a loss", err, checkpoint.ErrConflict)
	stale := taken
	stale.Tenure = "tenure-1"
	_, err = s.Renew(t.Context(), stale, &checkpoint.Saved{Checkpoint: number(99)})
	want(t, "renew with another tenure", err, checkpoint.ErrConflict)
	read(t, s, "after stale writes", taken)
	_, err = s.Renew(t.Context(), lease("shardId-none"), nil)
	want(t, "renew what is not there", err, checkpoint.ErrConflict)
}

func release(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	stale := l
	stale.Tenure = "tenure-0"
	want(t, "release with another tenure", s.Release(t.Context(), stale, nil), checkpoint.ErrConflict)
	save := checkpoint.Saved{Checkpoint: number(5), Roster: []string{"a"}}
	must(t, s.Release(t.Context(), l, &save))
	expect := l.Clone()
	expect.Owner, expect.Tenure, expect.Counter, expect.Saved = "", "", l.Counter+1, save
	read(t, s, "released", expect)
	want(t, "release again", s.Release(t.Context(), l, nil), checkpoint.ErrConflict)
	taken, err := s.Take(t.Context(), expect, "worker-b", "tenure-2")
	must(t, err)
	if taken.Switches != 0 {
		t.Errorf("%d switches after a release, want 0: nobody owned it", taken.Switches)
	}
	must(t, s.Release(t.Context(), taken, nil))
	expect.Counter += 2
	read(t, s, "released without positions", expect)
}

func ask(t *testing.T, s checkpoint.Store) {
	free := lease("shardId-1")
	must(t, s.Create(t.Context(), free))
	want(t, "ask for what nobody owns", s.Ask(t.Context(), free, "worker-b"), checkpoint.ErrConflict)
	want(t, "ask for what is not there", s.Ask(t.Context(), lease("shardId-none"), "worker-b"), checkpoint.ErrConflict)

	l := held(t, s, "shardId-0")
	wrong := l
	wrong.Owner = "worker-x"
	want(t, "ask another owner", s.Ask(t.Context(), wrong, "worker-b"), checkpoint.ErrConflict)
	renewed, err := s.Renew(t.Context(), l, nil)
	must(t, err)
	must(t, s.Ask(t.Context(), l, "worker-b")) // whatever the counter
	expect := renewed.Clone()
	expect.Owner, expect.HandingOver = "worker-b", "worker-a"
	read(t, s, "asked for", expect)
	want(t, "ask again", s.Ask(t.Context(), l, "worker-c"), checkpoint.ErrConflict)
	want(t, "ask again, as it is", s.Ask(t.Context(), expect, "worker-c"), checkpoint.ErrConflict)
}

func handoff(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	must(t, s.Ask(t.Context(), l, "worker-b"))
	_, err := s.Renew(t.Context(), l, nil)
	want(t, "renew unaware of the request", err, checkpoint.ErrConflict)
	want(t, "release unaware of the request", s.Release(t.Context(), l, nil), checkpoint.ErrConflict)
	aware, err := s.Get(t.Context(), l.Key)
	must(t, err)
	save := checkpoint.Saved{Checkpoint: number(3), Roster: []string{"a"}}
	draining, err := s.Renew(t.Context(), aware, &save)
	must(t, err)
	expect := aware.Clone()
	expect.Counter, expect.Saved = aware.Counter+1, save
	same(t, "renewed while draining", draining, expect)
	save.Checkpoint = number(4)
	must(t, s.Release(t.Context(), draining, &save))
	expect.Counter, expect.Saved, expect.HandingOver, expect.Tenure = expect.Counter+1, save, "", ""
	read(t, s, "handed over", expect)
	if expect.Owner != "worker-b" {
		t.Fatalf("owner %q", expect.Owner)
	}
	want(t, "release twice", s.Release(t.Context(), draining, nil), checkpoint.ErrConflict)
	taken, err := s.Take(t.Context(), expect, "worker-b", "tenure-2")
	must(t, err)
	expect.Tenure, expect.Counter = "tenure-2", expect.Counter+1
	same(t, "taken after the handoff", taken, expect)

	// The old owner died while it drained: whoever takes ends the handoff.
	must(t, s.Ask(t.Context(), taken, "worker-c"))
	stuck, err := s.Get(t.Context(), l.Key)
	must(t, err)
	last, err := s.Take(t.Context(), stuck, "worker-d", "tenure-3")
	must(t, err)
	if last.HandingOver != "" || last.Owner != "worker-d" || last.Counter != stuck.Counter+1 {
		t.Errorf("taken out of a stale handoff: %+v", last)
	}
	read(t, s, "taken out of a stale handoff", last)
	want(t, "the dead owner's release", s.Release(t.Context(), stuck, nil), checkpoint.ErrConflict)
}

func setChildren(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	must(t, s.SetChildren(t.Context(), l, []string{"shardId-c2", "shardId-c1"}))
	expect := l.Clone()
	expect.Children = []string{"shardId-c1", "shardId-c2"}
	read(t, s, "children", expect)
	next, err := s.Renew(t.Context(), l, nil)
	must(t, err)
	if next.Counter != l.Counter+1 {
		t.Errorf("counter %d, want %d: children leave it alone", next.Counter, l.Counter+1)
	}
	must(t, s.SetChildren(t.Context(), l, []string{"shardId-c3"})) // an old counter is no matter
	stale := l
	stale.Tenure = "tenure-0"
	want(t, "children from another tenure", s.SetChildren(t.Context(), stale, nil), checkpoint.ErrConflict)
	want(t, "children of what is not there", s.SetChildren(t.Context(), lease("shardId-none"), nil), checkpoint.ErrConflict)
	expect.Children, expect.Counter = []string{"shardId-c3"}, next.Counter
	read(t, s, "children again", expect)
}

func remove(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	next, err := s.Renew(t.Context(), l, nil)
	must(t, err)
	want(t, "delete with an old counter", s.Delete(t.Context(), l), checkpoint.ErrConflict)
	other := next
	other.Owner = "worker-b"
	want(t, "delete another's", s.Delete(t.Context(), other), checkpoint.ErrConflict)
	read(t, s, "not deleted", next)
	must(t, s.Delete(t.Context(), next))
	_, err = s.Get(t.Context(), l.Key)
	want(t, "get what is deleted", err, checkpoint.ErrNotFound)
	want(t, "delete again", s.Delete(t.Context(), next), checkpoint.ErrConflict)
	_, err = s.Renew(t.Context(), next, nil)
	want(t, "renew what is deleted", err, checkpoint.ErrConflict)
	must(t, s.Create(t.Context(), lease("shardId-0")))
	read(t, s, "created anew", lease("shardId-0"))
}
