package control_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/control"
	"github.com/shardline/shardline/pipeline"
)

// hotels is a stream whose shard a was split into b and c, of which c was split
// into d and e: it keeps a day of records.
type hotels struct{ now time.Time }

var created = time.Unix(1_700_000_000, 0).UTC()

func (h hotels) Stream(context.Context) (pipeline.Stream, error) {
	return pipeline.Stream{Account: "111111111111", Name: "hotels", Created: created, Retention: 24 * time.Hour}, nil
}

func (h hotels) Shards(context.Context) ([]checkpoint.Shard, time.Time, error) {
	return []checkpoint.Shard{
		{ID: "a", Closed: true}, {ID: "b", Parents: []string{"a"}}, {ID: "c", Parents: []string{"a"}, Closed: true},
		{ID: "d", Parents: []string{"c"}}, {ID: "e", Parents: []string{"c"}}, {ID: "x"},
	}, h.now, nil
}

// Lag says that the oldest record that is left is 20 hours old.
func (h hotels) Lag(_ context.Context, shard string, at checkpoint.Position) (time.Duration, error) {
	switch {
	case shard == "x":
		return 0, errors.New("throttled")
	case at == checkpoint.Number("3", 0):
		return 20 * time.Hour, nil
	}
	return 0, nil
}

const stream = "111111111111:hotels:1700000000"

// table is a store with the leases of b, d and x; d has an owner.
func table(t *testing.T) *checkpoint.Memory {
	t.Helper()
	s := &checkpoint.Memory{}
	for id, parents := range map[string][]string{"b": {"a"}, "d": {"c"}, "x": nil} {
		l := checkpoint.NewLease(checkpoint.MultiStream, stream, checkpoint.Shard{ID: id, Parents: parents}, checkpoint.Number("7", 0))
		l.Roster = []string{"gone", "one", "two"}
		l.Behind = map[string]checkpoint.Entry{"two": {At: checkpoint.Number("5", 0), Keys: map[string]checkpoint.Position{"k": checkpoint.Number("3", 0)}}}
		if err := s.Create(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if id == "d" {
			if _, err := s.Take(t.Context(), l, "w", "tenure"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

var now = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func controlOf(s checkpoint.Store, change ...func(*control.Config)) *control.Control {
	c := control.Config{Store: s, Format: checkpoint.MultiStream, Every: time.Second,
		Destinations: func() []string { return []string{"two", "one"} },
		Sources: func(context.Context) ([]control.Source, func(), error) {
			return []control.Source{{Name: "hotels", Destinations: []string{"one", "two"}, Stream: hotels{now}}}, func() {}, nil
		}}
	for _, f := range change {
		f(&c)
	}
	return control.New(c)
}

func request(verb checkpoint.Verb, names ...string) control.Request {
	return control.Request{Verb: verb, Destinations: names, By: "ann@host"}
}

// TestRefusals: what makes no sense is refused with what to do, and changes
// nothing.
func TestRefusals(t *testing.T) {
	replay := func(from, lease string) control.Request {
		r := request(checkpoint.ReplayVerb, "one")
		r.From, r.Lease = from, lease
		return r
	}
	from := request(checkpoint.PauseVerb, "one")
	from.From = "trim_horizon"
	for _, tt := range []struct {
		request control.Request
		shared  bool
		is      error
		says    string
	}{
		{request(checkpoint.PauseVerb, "on"), false, control.ErrUnknown, "on: unknown: no destination of that name; there are one, two"},
		{request(checkpoint.PauseVerb, "one", "gone"), false, control.ErrUnknown, "gone: unknown: it is not configured any more; its place is kept on 3 of 3 leases until it comes back, or `destinations remove gone` gives it up"},
		{request(checkpoint.RemoveVerb, "one"), false, checkpoint.ErrRefused, "one is still configured"},
		{request(checkpoint.RemoveVerb, "never"), false, control.ErrUnknown, "there is nothing to remove"},
		{request(checkpoint.PauseVerb), false, checkpoint.ErrRefused, "pause which destinations?"},
		{request(checkpoint.PauseVerb, "one"), true, checkpoint.ErrRefused, "leases.shared_with_kcl"},
		{from, false, checkpoint.ErrRefused, "from and lease go with replay"},
		{replay("yesterday", ""), false, checkpoint.ErrRefused, "none of trim_horizon, an RFC 3339 time"},
		{replay("SHARD_END", ""), false, checkpoint.ErrRefused, "none of trim_horizon"},
		{replay("4711", ""), false, checkpoint.ErrRefused, "say of which lease"},
		{replay("4711", "nowhere"), false, control.ErrUnknown, "lease nowhere: unknown: no shard of the destinations' streams"},
		{replay("2026-03-02T12:00:01Z", ""), false, checkpoint.ErrRefused, "it is 2026-03-02T12:00:00Z at source hotels: a replay cannot begin in the future"},
	} {
		s := table(t)
		_, err := controlOf(s, func(c *control.Config) { c.SharedWithKCL = tt.shared }).Give(t.Context(), tt.request)
		if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %s: %v, want %v: %s", tt.request.Verb, tt.request.Destinations, err, tt.is, tt.says)
		}
		if d, _ := s.Desired(t.Context()); d.Version != 0 {
			t.Errorf("%s: version %d", tt.request.Verb, d.Version)
		}
	}
}

// TestReplay says where replays set the leases back to.
func TestReplay(t *testing.T) {
	for _, tt := range []struct{ from, lease, want, note string }{
		{"2026-03-02T11:00:00Z", "", "AT_TIMESTAMP:1772449200000 everywhere", ""},
		{"trim_horizon", "", "TRIM_HORIZON everywhere", ""},
		{"2026-03-01T11:00:00Z", "", "AT_TIMESTAMP:1772362800000 everywhere", "source hotels keeps records for 24h0m0s: its replay begins with the oldest that is left, of about 2026-03-01T12:00:00Z, and not at 2026-03-01T11:00:00Z"},
		{"4711:2", "c", "c=4711:2 d=TRIM_HORIZON e=TRIM_HORIZON", ""},
		{"4711", stream + ":x", "x=4711:0", ""},
		{"2026-03-02T11:00:00Z", "a", "a=AT_TIMESTAMP:1772449200000 b=TRIM_HORIZON c=TRIM_HORIZON d=TRIM_HORIZON e=TRIM_HORIZON", ""},
	} {
		s := table(t)
		r := request(checkpoint.ReplayVerb, "one")
		r.From, r.Lease = tt.from, tt.lease
		result, err := controlOf(s).Give(t.Context(), r)
		if err != nil {
			t.Errorf("%s: %v", tt.from, err)
			continue
		}
		d, _ := s.Desired(t.Context())
		w := d.Wish("one").Replay
		got := w.From.String() + " everywhere"
		if w.Leases != nil {
			var all []string
			for _, key := range slices.Sorted(maps.Keys(w.Leases)) {
				all = append(all, strings.TrimPrefix(key, stream+":")+"="+w.Leases[key].String())
			}
			got = strings.Join(all, " ")
		}
		if got != tt.want {
			t.Errorf("from %s of %q: %s, want %s", tt.from, tt.lease, got, tt.want)
		}
		if strings.Join(result.Notes, "; ") != tt.note {
			t.Errorf("from %s: notes %q, want %q", tt.from, result.Notes, tt.note)
		}
		if result.State != control.Pausing {
			t.Errorf("from %s: state %s", tt.from, result.State)
		}
	}
}

// TestAwait gives a command that the owner of d acknowledges after three
// seconds.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := table(t)
		c := controlOf(s)
		pause := request(checkpoint.PauseVerb, "one")
		pause.ID = "p-1"
		r, err := c.Give(t.Context(), pause)
		if err != nil || states(r) != "waiting: b unowned, d waiting, x unowned" {
			t.Fatalf("%s, %v", states(r), err)
		}
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if r, err = c.Await(short, r); err != nil || r.State != control.Waiting {
			t.Errorf("after 2 s: %s, %v", states(r), err)
		}
		time.AfterFunc(time.Second, func() {
			l, _ := s.Get(context.Background(), stream+":d")
			saved := l.Saved
			saved.Acknowledged = r.Version
			if _, err := s.Renew(context.Background(), l, &saved); err != nil {
				t.Error(err)
			}
		})
		if r, err = c.Await(t.Context(), r); err != nil || states(r) != "in_force: b unowned, d in_force, x unowned" {
			t.Errorf("%s, %v", states(r), err)
		}
		again, err := c.Give(t.Context(), pause)
		if err != nil || !again.Again || again.Version != r.Version || again.State != control.InForce {
			t.Errorf("given again: %+v, %v", again, err)
		}
		later, err := c.Command(t.Context(), "p-1")
		if err != nil || states(later) != states(r) {
			t.Errorf("asked later: %s, %v", states(later), err)
		}
		if _, err := c.Command(t.Context(), "p-2"); !errors.Is(err, control.ErrUnknown) {
			t.Errorf("a command that was never given: %v", err)
		}
	})
}

func states(r control.Result) string {
	var all []string
	for _, s := range r.Shards {
		all = append(all, s.Shard+" "+string(s.State))
	}
	return string(r.State) + ": " + strings.Join(all, ", ")
}

// TestList says what is told of destinations that are configured, and of one
// that no longer is.
func TestList(t *testing.T) {
	s := table(t)
	c := controlOf(s, func(c *control.Config) {
		c.Local = func() map[string]control.Local {
			return map[string]control.Local{"two": {Held: true, Reason: "unauthorised"}}
		}
	})
	hold := request(checkpoint.HoldVerb, "two")
	hold.Keys, hold.Reason = []string{"hotel"}, "redrive"
	for _, r := range []control.Request{hold, request(checkpoint.HoldVerb, "one"), request(checkpoint.PauseVerb, "one")} {
		if _, err := c.Give(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	all, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint("version ", all.Version)
	for _, d := range all.Destinations {
		got += fmt.Sprintf("\n%s configured %t: %s by %q, behind on %d of %d, %d parked, held %d, waiting %d, by itself %t",
			d.Name, d.Configured, d.State, d.By, d.Behind, d.Shards, d.ParkedKeys, len(d.HeldKeys), len(d.Waiting), d.Worker != nil && d.Worker.Held)
	}
	want := `version 3
gone configured false: delivering by "", behind on 0 of 3, 0 parked, held 0, waiting 0, by itself false
one configured true: paused by "ann@host", behind on 0 of 3, 0 parked, held 0, waiting 1, by itself false
two configured true: delivering by "", behind on 3 of 3, 3 parked, held 1, waiting 1, by itself true`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	one, err := c.One(t.Context(), "two")
	if err != nil || len(one.Places) != 3 || one.Places[0].At != "5:0" || one.HeldKeys[0].Reason != "redrive" {
		t.Errorf("%+v, %v", one, err)
	}
	if err := c.Lag(t.Context(), &one); err != nil {
		t.Fatal(err)
	}
	if p := one.Places; *p[0].LagSeconds != 72000 || *p[0].SecondsUntilTrim != 14400 || *one.SecondsUntilTrim != 14400 || p[2].LagError != "throttled" {
		t.Errorf("lag: %+v", one)
	}
	if _, err := c.One(t.Context(), "three"); !errors.Is(err, control.ErrUnknown) {
		t.Errorf("one that there is not: %v", err)
	}
}
