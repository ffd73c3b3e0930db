package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// Schema is the version of the JSON form of reports: fields are added within
// one, never renamed.
const Schema = 1

// Document is the JSON form of a report; docs/schema/oee-report-1.json
// describes it.
type Document struct {
	Schema   int               `json:"schema"`
	View     string            `json:"view"`
	TimeZone string            `json:"time_zone"`
	Date     string            `json:"business_date"`
	Shift    *string           `json:"shift"`
	Start    time.Time         `json:"start"`
	End      time.Time         `json:"end"`
	Made     *time.Time        `json:"made"`
	Targets  DocumentTargets   `json:"targets"`
	Results  []oee.Result      `json:"results"`
	Machines []DocumentMachine `json:"machines"`
}

// DocumentTargets are where the bands of OEE begin.
type DocumentTargets struct {
	OEE  float64 `json:"oee"`
	Warn float64 `json:"warn"`
}

// DocumentMachine is what a machine did.
type DocumentMachine struct {
	Machine  string             `json:"machine"`
	Line     *string            `json:"line"`
	Heard    *time.Time         `json:"heard"`
	Last     *DocumentInterval  `json:"last"`
	Timeline []DocumentInterval `json:"timeline"`
}

// DocumentInterval is a stretch of one state.
type DocumentInterval struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Class   oee.Class `json:"class"`
	State   *string   `json:"state"`
	Reason  *string   `json:"reason"`
	Planned bool      `json:"planned"`
	Silent  bool      `json:"silent"`
	Micro   bool      `json:"micro_stop"`
}

// Document is the report in its JSON form.
func (r *Report) Document() Document {
	d := Document{Schema: Schema, View: r.View, TimeZone: r.Zone.String(), Date: r.Windows[0].Date, Shift: optional(r.Shift), Start: r.Start.In(r.Zone), End: r.End.In(r.Zone),
		Made: r.instant(r.Made), Targets: DocumentTargets{OEE: r.Target, Warn: r.Warn}, Results: r.Results(), Machines: []DocumentMachine{}}
	for _, m := range r.Machines {
		dm := DocumentMachine{Machine: m.Name, Line: optional(m.Line), Heard: r.instant(m.Heard), Timeline: []DocumentInterval{}}
		if last, ok := m.Last(); ok {
			i := Interval(last, r.Zone)
			dm.Last = &i
		}
		for _, i := range m.Timeline {
			dm.Timeline = append(dm.Timeline, Interval(i, r.Zone))
		}
		d.Machines = append(d.Machines, dm)
	}
	return d
}

// Interval is the JSON form of an interval, in a zone.
func Interval(i oee.Interval, zone *time.Location) DocumentInterval {
	return DocumentInterval{Start: i.Start.In(zone), End: i.End.In(zone), Class: i.Class, State: optional(i.State), Reason: optional(i.Reason),
		Planned: i.Planned, Silent: i.Silent, Micro: i.Micro}
}

func (r *Report) instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.In(r.Zone)
	return &t
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// JSON writes the report as one JSON object.
func (r *Report) JSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	if err := out.Encode(r.Document()); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
