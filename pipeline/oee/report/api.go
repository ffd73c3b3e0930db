package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// Live are figures as a running view has them.
type Live interface {
	Figures
	Side(kind oee.SideKind) oee.SideOutput
}

// Views are the views of a process, which go on while they are asked.
type Views interface {
	// Names are the names of all views, sorted.
	Names() []string
	// Look calls look with a view's figures, which do not change meanwhile: look
	// returns soon and keeps nothing of them. ErrNoView: there is no such view.
	Look(ctx context.Context, view string, look func(c *oee.Config, f Live) error) error
}

// ErrNoView is behind the error for a view that there is not.
var ErrNoView = errors.New("no view of that name")

const (
	// maxRequests bounds how often views are held up at once.
	maxRequests = 4
	// callsAtMost bounds how long a request waits for a view.
	callsAtMost = 20 * time.Second
	// maxRange bounds the time that is asked for: as long as a view keeps hours by
	// itself, and clock changes.
	maxRange = 36 * 24 * time.Hour
	// maxResults bounds an answer's results, and its intervals.
	maxResults = 10_000
	// maxMachines bounds the machines of a page of them.
	maxMachines = 500
)

// API answers /api/v1/oee. It only reads.
type API struct {
	views Views
	slots chan struct{}
	mux   *http.ServeMux
}

// Routes are the patterns that the API answers, and what docs/api.md describes.
func Routes() []string {
	return []string{
		"GET /api/v1/oee",
		"GET /api/v1/oee/{view}/machines",
		"GET /api/v1/oee/{view}/windows",
		"GET /api/v1/oee/{view}/timeline",
		"GET /api/v1/oee/{view}/stops",
		"GET /api/v1/oee/{view}/side",
		"GET /api/v1/oee/{view}/report",
	}
}

// NewAPI makes the handler of the views' addresses.
func NewAPI(views Views) *API {
	a := &API{views: views, slots: make(chan struct{}, maxRequests), mux: http.NewServeMux()}
	handlers := []func(r *http.Request) (answer, error){a.list, a.machines, a.windows, a.timeline, a.stops, a.side, a.report}
	for i, route := range Routes() {
		a.mux.HandleFunc(route, a.answering(handlers[i]))
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "there is "+strings.Join(Routes(), ", "))
	})
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d requests are being answered; try again", maxRequests))
		return
	}
	a.mux.ServeHTTP(w, r)
}

// answer is the body of an answer, and what it is.
type answer struct {
	contentType string // empty: JSON
	body        any    // bytes unless it is JSON
}

// failure is an error with the status of its answer.
type failure struct {
	status int
	text   string
}

func (f failure) Error() string { return f.text }

func bad(format string, args ...any) error {
	return failure{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func (a *API) answering(handle func(r *http.Request) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callsAtMost)
		defer cancel()
		given, err := handle(r.WithContext(ctx))
		var f failure
		switch {
		case errors.As(err, &f):
			refuse(w, f.status, f.text)
		case errors.Is(err, ErrNoView):
			refuse(w, http.StatusNotFound, fmt.Sprintf("there is no view %q; there is %s", r.PathValue("view"), names(a.views.Names(), func(s string) string { return s })))
		case err != nil:
			refuse(w, http.StatusServiceUnavailable, err.Error())
		case given.contentType != "":
			body, _ := given.body.([]byte)
			send(w, http.StatusOK, given.contentType, body)
		default:
			text, err := json.MarshalIndent(given.body, "", "  ")
			if err != nil {
				refuse(w, http.StatusInternalServerError, err.Error())
				return
			}
			send(w, http.StatusOK, "application/json", append(text, '\n'))
		}
	}
}

// refuse writes a problem (RFC 9457), as all of /api/v1 does.
func refuse(w http.ResponseWriter, status int, detail string) {
	text, _ := json.MarshalIndent(struct { // texts and a number: no error
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail}, "", "  ")
	send(w, status, "application/problem+json", append(text, '\n'))
}

func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer is gone: nobody to tell
}

// viewSummary is a view of the list.
type viewSummary struct {
	View     string   `json:"view"`
	TimeZone string   `json:"time_zone"`
	Machines int      `json:"machines"`
	Kinds    []string `json:"kinds"`
	Lines    []string `json:"lines"`
	Shifts   []string `json:"shifts"`
}

func (a *API) list(r *http.Request) (answer, error) {
	all := []viewSummary{}
	for _, name := range a.views.Names() {
		err := a.views.Look(r.Context(), name, func(c *oee.Config, f Live) error {
			s := viewSummary{View: name, TimeZone: c.Zone.String(), Machines: len(f.Machines()), Kinds: kinds(c), Lines: []string{}, Shifts: []string{}}
			for _, l := range c.Lines {
				s.Lines = append(s.Lines, l.Name)
			}
			for _, shift := range c.Shifts {
				s.Shifts = append(s.Shifts, shift.Name)
			}
			all = append(all, s)
			return nil
		})
		if err != nil && !errors.Is(err, ErrNoView) { // one that has just gone is not listed
			return answer{}, err
		}
	}
	return answer{body: map[string]any{"views": all}}, nil
}

// kinds are the kinds of a view's windows, as Window.Kind has them.
func kinds(c *oee.Config) []string {
	out := []string{}
	for _, w := range c.Windows {
		switch w.Kind {
		case oee.ShiftWindow:
			out = append(out, "shift")
		case oee.HourWindow:
			out = append(out, "hour")
		case oee.DayWindow:
			out = append(out, "day")
		case oee.FixedWindow:
			out = append(out, lengthName(w.Length))
		}
	}
	return out
}

// lengthName is a length as a kind of window: 15m, 1h30m, 2h.
func lengthName(d time.Duration) string {
	text := strings.TrimSuffix(d.String(), "0s")
	if whole, ok := strings.CutSuffix(text, "h0m"); ok {
		return whole + "h"
	}
	return text
}

// currentKind is the kind of window that a machine's figures so far are of.
func currentKind(c *oee.Config) string {
	all := kinds(c)
	for _, kind := range []string{"shift", "day", "hour"} {
		if slices.Contains(all, kind) {
			return kind
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return ""
}

// liveMachine is a machine of the list.
type liveMachine struct {
	Machine string           `json:"machine"`
	Line    *string          `json:"line"`
	Heard   time.Time        `json:"heard"`
	State   DocumentInterval `json:"state"`
	Current *oee.Result      `json:"current"`
}

func (a *API) machines(r *http.Request) (answer, error) {
	q := r.URL.Query()
	after := q.Get("after")
	var all []liveMachine
	next := ""
	err := a.views.Look(r.Context(), r.PathValue("view"), func(c *oee.Config, f Live) error {
		all = []liveMachine{}
		lines := lineNames(c)
		for _, name := range f.Machines() {
			if line := q.Get("line"); name <= after || line != "" && lines[name] != line {
				continue
			}
			if len(all) == maxMachines {
				next = all[maxMachines-1].Machine
				break
			}
			state, heard, ok := f.Now(name)
			if !ok {
				continue
			}
			m := liveMachine{Machine: name, Line: optional(lines[name]), Heard: heard.In(c.Zone), State: Interval(state, c.Zone)}
			// Figures may end before the machine's last word: where it is is looked for
			// in those of a day.
			for _, x := range f.Windows(name, currentKind(c), heard.AddDate(0, 0, -1), heard.Add(1)) {
				if !x.Window.Start.After(heard) && x.Window.End.After(heard) {
					m.Current = &x
				}
			}
			all = append(all, m)
		}
		return nil
	})
	return answer{body: map[string]any{"machines": all, "next": optional(next)}}, err
}

// lineNames are the first lines of machines.
func lineNames(c *oee.Config) map[string]string {
	lines := map[string]string{}
	for _, line := range slices.Backward(c.Lines) {
		for _, m := range line.Machines {
			lines[m] = line.Name
		}
	}
	return lines
}

func (a *API) side(r *http.Request) (answer, error) {
	type sample struct {
		Machine string    `json:"machine"`
		Time    time.Time `json:"time"`
		State   *string   `json:"state"`
		Note    *string   `json:"note"`
	}
	type output struct {
		Kind    string     `json:"kind"`
		Count   int64      `json:"count"`
		Last    *time.Time `json:"last"`
		Samples []sample   `json:"samples"`
	}
	var all []output
	err := a.views.Look(r.Context(), r.PathValue("view"), func(c *oee.Config, f Live) error {
		all = []output{}
		for _, kind := range oee.SideKinds() {
			side := f.Side(kind)
			o := output{Kind: kind.String(), Count: side.Count, Samples: []sample{}}
			if !side.Last.IsZero() {
				last := side.Last.In(c.Zone)
				o.Last = &last
			}
			for _, s := range side.Samples {
				o.Samples = append(o.Samples, sample{Machine: s.Event.Machine, Time: s.Event.Time.In(c.Zone), State: optional(s.Event.State), Note: optional(s.Note)})
			}
			all = append(all, o)
		}
		return nil
	})
	return answer{body: map[string]any{"side": all}}, err
}

func (a *API) report(r *http.Request) (answer, error) {
	q := r.URL.Query()
	format := q.Get("format")
	if format == "" {
		format = "html"
	}
	form, ok := map[string]struct {
		contentType string
		write       func(*Report, *bytes.Buffer) error
	}{
		"html": {"text/html; charset=utf-8", func(r *Report, w *bytes.Buffer) error { return r.HTML(w) }},
		"csv":  {"text/csv; charset=utf-8", func(r *Report, w *bytes.Buffer) error { return r.CSV(w) }},
		"json": {"application/json", func(r *Report, w *bytes.Buffer) error { return r.JSON(w) }},
		"text": {"text/plain; charset=utf-8", func(r *Report, w *bytes.Buffer) error { return r.Text(w) }},
	}[format]
	if !ok {
		return answer{}, bad("format %q: allowed: html, csv, json, text", format)
	}
	day, err := time.Parse(time.DateOnly, q.Get("day"))
	if err != nil {
		return answer{}, bad("day %q: it has to be a date, as 2026-11-22", q.Get("day"))
	}
	var made *Report
	err = a.views.Look(r.Context(), r.PathValue("view"), func(c *oee.Config, f Live) error {
		var err error
		made, err = New(f, Config{View: c, Date: oee.Date{Year: day.Year(), Month: day.Month(), Day: day.Day()}, Shift: q.Get("shift"), Machines: q["machine"], Made: time.Now()})
		if err != nil {
			return failure{http.StatusNotFound, err.Error()}
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	var out bytes.Buffer
	if err := form.write(made, &out); err != nil {
		return answer{}, err
	}
	return answer{contentType: form.contentType, body: out.Bytes()}, nil
}
