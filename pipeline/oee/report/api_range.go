package report

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// asked is what a request asks for of a stretch of time.
type asked struct {
	from, to        string
	kind            string
	machines, lines []string
}

func askedOf(r *http.Request) asked {
	q := r.URL.Query()
	return asked{from: q.Get("from"), to: q.Get("to"), kind: q.Get("kind"), machines: q["machine"], lines: q["line"]}
}

// times reads from and to: RFC 3339 instants, or dates of the view's zone; to is
// not in the stretch, and a day later if it is not given.
func (q asked) times(zone *time.Location) (from, to time.Time, err error) {
	read := func(name, text string) (time.Time, error) {
		if t, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
			return t, nil
		}
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return t, bad("%s %q: it has to be a date, as 2026-11-22, or an instant, as 2026-11-22T06:00:00+01:00 (in an address + is %%2B)", name, text)
		}
		return t, nil
	}
	if from, err = read("from", q.from); err != nil {
		return from, to, err
	}
	to = from.AddDate(0, 0, 1)
	if q.to != "" {
		if to, err = read("to", q.to); err != nil {
			return from, to, err
		}
	}
	switch {
	case !to.After(from):
		return from, to, bad("to %s is not after from %s", q.to, q.from)
	case to.Sub(from) > maxRange:
		return from, to, bad("from and to are more than %d days apart", int(maxRange.Hours()/24))
	}
	return from, to, nil
}

// results are the windows that begin in the stretch that is asked for.
func (q asked) results(c *oee.Config, f Live) (all []oee.Result, err error) {
	from, to, err := q.times(c.Zone)
	if err != nil {
		return nil, err
	}
	if q.kind != "" && !slices.Contains(kinds(c), q.kind) {
		return nil, bad("kind %q: the view has %s", q.kind, names(kinds(c), func(s string) string { return s }))
	}
	known := f.Machines()
	machines := q.machines
	if len(q.machines) == 0 && len(q.lines) == 0 {
		machines = known
	}
	put := func(some []oee.Result) error {
		for _, x := range some {
			if x.Window.Start.Before(from) || !x.Window.Start.Before(to) {
				continue
			}
			if len(all) == maxResults {
				return bad("more than %d results: ask for less time, for a kind, or for some machines", maxResults)
			}
			all = append(all, x)
		}
		return nil
	}
	for _, name := range machines {
		if len(q.machines) > 0 && !slices.Contains(known, name) {
			return nil, failure{http.StatusNotFound, "no machine " + shown(name) + " has been heard of here"}
		}
		if err := put(f.Windows(name, q.kind, from, to)); err != nil {
			return nil, err
		}
	}
	for _, name := range q.lines {
		if !slices.ContainsFunc(c.Lines, func(l oee.Line) bool { return l.Name == name }) {
			return nil, failure{http.StatusNotFound, "the view has no line " + shown(name)}
		}
		if err := put(f.LineWindows(name, q.kind, from, to)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (a *API) windows(r *http.Request) (answer, error) {
	q := askedOf(r)
	results := []oee.Result{}
	err := a.views.Look(r.Context(), r.PathValue("view"), func(c *oee.Config, f Live) error {
		some, err := q.results(c, f)
		results = append(results[:0], some...)
		return err
	})
	return answer{body: map[string]any{"results": results}}, err
}

func (a *API) stops(r *http.Request) (answer, error) {
	type stop struct {
		Reason  string      `json:"reason"`
		Class   oee.Class   `json:"class"`
		Seconds json.Number `json:"seconds"`
		Number  int64       `json:"number"`
	}
	q := askedOf(r)
	var all []stop
	windows := 0
	err := a.views.Look(r.Context(), r.PathValue("view"), func(c *oee.Config, f Live) error {
		if q.kind == "" { // of several kinds every stop would count several times
			q.kind = currentKind(c)
		}
		results, err := q.results(c, f)
		all, windows = []stop{}, len(results)
		for _, s := range add(results).Stops {
			all = append(all, stop{Reason: s.Reason, Class: s.Class, Seconds: json.Number(seconds(s.Time)), Number: s.Number})
		}
		return err
	})
	return answer{body: map[string]any{"kind": q.kind, "windows": windows, "stops": all}}, err
}

func (a *API) timeline(r *http.Request) (answer, error) {
	q := askedOf(r)
	if len(q.machines) != 1 {
		return answer{}, bad("one machine has to be named: ?machine=NAME")
	}
	name := q.machines[0]
	var all []DocumentInterval
	err := a.views.Look(r.Context(), r.PathValue("view"), func(c *oee.Config, f Live) error {
		from, to, err := q.times(c.Zone)
		if err != nil {
			return err
		}
		if !slices.Contains(f.Machines(), name) {
			return failure{http.StatusNotFound, "no machine " + shown(name) + " has been heard of here"}
		}
		some := f.Timeline(name, from, to)
		if len(some) > maxResults {
			return bad("more than %d intervals: ask for less time", maxResults)
		}
		all = []DocumentInterval{}
		for _, i := range some {
			all = append(all, Interval(i, c.Zone))
		}
		return nil
	})
	return answer{body: map[string]any{"machine": name, "intervals": all}}, err
}
