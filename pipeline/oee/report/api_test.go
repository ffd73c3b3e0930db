package report_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/report"
)

// site is a process's views: one.
type site struct {
	mu sync.Mutex // held while a view is looked at
	*plant
	config *oee.Config
	hold   chan struct{} // if set, Look waits for it
	inside chan struct{} // and says here that it does
}

func (s *site) Names() []string { return []string{"plant-1"} }

func (s *site) Side(kind oee.SideKind) oee.SideOutput {
	if kind != oee.SideState {
		return oee.SideOutput{}
	}
	return oee.SideOutput{Count: 7, Last: now, Samples: []oee.Sample{{Event: oee.Event{Machine: "m1", Time: now, State: "DREAM"}, Note: "map it"}}}
}

func (s *site) Look(ctx context.Context, view string, look func(c *oee.Config, f report.Live) error) error {
	if view != "plant-1" {
		return fmt.Errorf("view %s: %w", view, report.ErrNoView)
	}
	if s.hold != nil {
		s.inside <- struct{}{}
		select {
		case <-s.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return look(s.config, s)
}

func newSite(names ...string) *site {
	return &site{plant: build(3, names...), config: viewConfig(names...)}
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func TestAPI(t *testing.T) {
	const of = "/api/v1/oee/plant-1/"
	api := report.NewAPI(newSite("m1", "m2", "m3"))
	for _, tt := range []struct {
		name, path  string
		status      int
		contentType string
		says        []string
		silent      string // what it must not say
	}{
		{"views", "/api/v1/oee", 200, "application/json", []string{`"view": "plant-1"`, `"time_zone": "Europe/Berlin"`, `"machines": 3`, `"hour"`, `"line-1"`, `"night"`}, ""},
		{"machines", of + "machines", 200, "application/json", []string{`"machine": "m3"`, `"line": "line-2"`, `"heard": "2026-11-22T21:41:00+01:00"`, `"name": "late"`, `"state": "early"`, `"next": null`}, `"name": "early"`},
		{"machines of a line", of + "machines?line=line-1", 200, "application/json", []string{`"m1"`}, `"m2"`},
		{"machines after one", of + "machines?after=m2", 200, "application/json", []string{`"m3"`}, `"m2"`},
		{"windows of a day", of + "windows?from=2026-11-22&kind=shift&machine=m1", 200, "application/json", []string{`"name": "early"`, `"name": "late"`, `"schema": 1`}, `"m2"`},
		{"windows from an instant", of + "windows?from=2026-11-22T14:00:00%2B01:00", 200, "application/json", []string{`"name": "late"`, `"m3"`}, `"name": "early"`},
		{"windows up to an instant", of + "windows?from=2026-11-22&to=2026-11-22T13:00:00Z", 200, "application/json", []string{`"name": "early"`}, `"name": "late"`},
		{"windows of a line", of + "windows?from=2026-11-22&line=line-1", 200, "application/json", []string{`"line": "line-1"`, `"bottleneck": "m1"`}, `"m2"`},
		{"windows of another day", of + "windows?from=2026-11-21&to=2026-11-22", 200, "application/json", []string{`"results": []`}, ""},
		{"a time line", of + "timeline?machine=m1&from=2026-11-22", 200, "application/json", []string{`"start": "2026-11-22T06:00:00+01:00"`, `"class": "running"`, `"planned": true`, `"reason": null`}, ""},
		{"stops", of + "stops?from=2026-11-22&machine=m1", 200, "application/json", []string{`"kind": "shift"`, `"windows": 2`, `"number": `, `"seconds": `}, ""},
		{"side outputs", of + "side", 200, "application/json", []string{`"kind": "unmapped_state"`, `"count": 7`, `"state": "DREAM"`, `"note": "map it"`, `"kind": "late"`, `"last": null`}, ""},
		{"a report", of + "report?day=2026-11-22", 200, "text/html; charset=utf-8", []string{"<title>OEE plant-1 2026-11-22</title>"}, ""},
		{"a report as text", of + "report?day=2026-11-22&format=text&shift=late&machine=m2", 200, "text/plain; charset=utf-8", []string{"m2  late"}, "m1"},
		{"a report as CSV", of + "report?day=2026-11-22&format=csv", 200, "text/csv; charset=utf-8", []string{"view,of,machine"}, ""},
		{"a report as JSON", of + "report?day=2026-11-22&format=json", 200, "application/json", []string{`"business_date": "2026-11-22"`}, ""},

		{"another view", "/api/v1/oee/plant-2/machines", 404, "application/problem+json", []string{`there is no view \"plant-2\"; there is plant-1`}, ""},
		{"nothing there", of + "hotels", 404, "application/problem+json", []string{"GET /api/v1/oee/{view}/timeline"}, ""},
		{"no time", of + "windows", 400, "application/problem+json", []string{`from \"\": it has to be a date`}, ""},
		{"a + that became a space", of + "windows?from=2026-11-22T14:00:00+01:00", 400, "application/problem+json", []string{"(in an address + is %2B)"}, ""},
		{"backwards", of + "windows?from=2026-11-22&to=2026-11-21", 400, "application/problem+json", []string{"is not after from"}, ""},
		{"a year", of + "windows?from=2026-01-01&to=2027-01-01", 400, "application/problem+json", []string{"more than 36 days apart"}, ""},
		{"another kind", of + "windows?from=2026-11-22&kind=week", 400, "application/problem+json", []string{`kind \"week\": the view has shift, hour`}, ""},
		{"another machine", of + "windows?from=2026-11-22&machine=m9", 404, "application/problem+json", []string{"no machine m9"}, ""},
		{"another line", of + "stops?from=2026-11-22&line=l9", 404, "application/problem+json", []string{"no line l9"}, ""},
		{"a time line of nobody", of + "timeline?from=2026-11-22", 400, "application/problem+json", []string{"?machine=NAME"}, ""},
		{"a report of no day", of + "report", 400, "application/problem+json", []string{"it has to be a date"}, ""},
		{"a report of an empty day", of + "report?day=2026-10-01", 404, "application/problem+json", []string{"no windows on 2026-10-01"}, ""},
		{"a report in another format", of + "report?day=2026-11-22&format=pdf", 400, "application/problem+json", []string{"allowed: html, csv, json, text"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := get(t, api, tt.path)
			if w.Code != tt.status || w.Header().Get("Content-Type") != tt.contentType || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%d %v\n%s", w.Code, w.Header(), w.Body)
			}
			for _, want := range tt.says {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("no %s in\n%s", want, w.Body)
				}
			}
			if tt.silent != "" && strings.Contains(w.Body.String(), tt.silent) {
				t.Errorf("%s in\n%s", tt.silent, w.Body)
			}
			if tt.contentType == "application/json" && !json.Valid(w.Body.Bytes()) {
				t.Errorf("no JSON:\n%s", w.Body)
			}
		})
	}
	if w := httptest.NewRecorder(); true {
		api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, of+"machines", nil))
		if w.Code != 404 {
			t.Errorf("a POST gets %d", w.Code)
		}
	}
}

// Stops of a kind of window count once, whatever other kinds there are: those of
// both shifts are those of the machine's day.
func TestAPIStopsCountOnce(t *testing.T) {
	s := newSite("m1")
	extra := s.results["m1"][0]
	extra.Window.Kind, extra.Window.Name = "hour", ""
	s.results["m1"] = append(s.results["m1"], extra)
	var want time.Duration
	for _, x := range s.results["m1"][:2] {
		for _, stop := range x.Stops {
			want += stop.Time
		}
	}
	var got struct{ Stops []struct{ Seconds float64 } }
	if err := json.Unmarshal(get(t, report.NewAPI(s), "/api/v1/oee/plant-1/stops?from=2026-11-22").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, stop := range got.Stops {
		sum += stop.Seconds
	}
	if sum != want.Seconds() {
		t.Errorf("%v seconds of stops, want %v", sum, want.Seconds())
	}
}

// Pages of machines hold all of them, each once.
func TestAPIPages(t *testing.T) {
	names := many(1100)
	s := newSite(names[0])
	s.names = names
	for _, n := range names {
		s.times[n] = s.times[names[0]][:1]
	}
	api := report.NewAPI(s)
	seen, after := 0, ""
	for page := 1; ; page++ {
		var got struct {
			Machines []struct{ Machine string }
			Next     *string
		}
		if err := json.Unmarshal(get(t, api, "/api/v1/oee/plant-1/machines?after="+after).Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for _, m := range got.Machines {
			if m.Machine != names[seen] {
				t.Fatalf("machine %d is %s", seen, m.Machine)
			}
			seen++
		}
		if got.Next == nil {
			if page != 3 {
				t.Errorf("%d pages", page)
			}
			break
		}
		after = *got.Next
	}
	if seen != len(names) {
		t.Errorf("%d machines, want %d", seen, len(names))
	}
}

// What would be too long an answer is refused with what to do.
func TestAPIBounds(t *testing.T) {
	s := newSite("m1")
	one := s.results["m1"][0]
	one.Window.Kind, one.Window.Name = "hour", ""
	s.results["m1"] = nil
	for i := range 10_001 {
		one.Window.Start = early().Start.Add(time.Duration(i) * time.Second)
		s.results["m1"] = append(s.results["m1"], one)
	}
	s.times["m1"] = make([]oee.Interval, 10_001)
	for i := range s.times["m1"] {
		s.times["m1"][i] = oee.Interval{Start: early().Start, End: early().End}
	}
	api := report.NewAPI(s)
	for path, want := range map[string]string{
		"windows?from=2026-11-22":             "more than 10000 results: ask for less time",
		"timeline?from=2026-11-22&machine=m1": "more than 10000 intervals: ask for less time",
	} {
		if w := get(t, api, "/api/v1/oee/plant-1/"+path); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.300s", path, w.Code, w.Body)
		}
	}
}

// Four requests hold views up at once; the fifth is told to come again.
func TestAPIBusy(t *testing.T) {
	s := newSite("m1")
	s.hold, s.inside = make(chan struct{}), make(chan struct{})
	api := report.NewAPI(s)
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			if w := get(t, api, "/api/v1/oee/plant-1/machines"); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
		<-s.inside
	}
	if w := get(t, api, "/api/v1/oee/plant-1/machines"); w.Code != 503 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	close(s.hold)
	busy.Wait()
}

// docs/api.md has every address.
func TestAPIDocument(t *testing.T) {
	document := string(mustRead(t, "../../../docs/api.md"))
	for _, route := range report.Routes() {
		if !strings.Contains(document, "| `"+route+"` | ") {
			t.Errorf("docs/api.md does not describe %s", route)
		}
	}
	if n := strings.Count(document, "`GET /api/v1/oee"); n != len(report.Routes()) {
		t.Errorf("docs/api.md describes %d addresses, want %d", n, len(report.Routes()))
	}
}
