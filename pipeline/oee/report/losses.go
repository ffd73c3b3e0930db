package report

import (
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// waterfall is the way from planned to fully productive time: what is left
// (sums), and between them what is lost. Nil: nothing was planned.
func (r *Report) waterfall(x oee.Result) *losses {
	s := x.Sums
	if s.Planned == 0 {
		return nil
	}
	l := &losses{Caption: title(x.Window) + ", " + between(x.Window, r.Zone) + ": share of planned time"}
	if len(r.Windows) > 1 {
		l.Caption = "All windows together: share of planned time"
	}
	left := time.Duration(0)
	lengths := func(from, to time.Duration) (float64, float64) {
		low, high := min(from, to), max(from, to)
		return float64(low) / float64(s.Planned), float64(high-low) / float64(s.Planned)
	}
	put := func(key, name string, is time.Duration, class string) {
		st := step{Key: key, Name: name, Class: class, Sum: class == "", Minutes: minutes(is), Share: percent(float64(is)/float64(s.Planned), true)}
		if st.Sum {
			left = is
			st.From, st.Length = lengths(0, is)
		} else {
			st.From, st.Length = lengths(left, left-is)
			left -= is
			st.Minutes, st.Share = minutes(-is), percent(-float64(is)/float64(s.Planned), true)
			if is < 0 {
				st.Minutes, st.Share = "+"+st.Minutes, "+"+st.Share
			}
		}
		l.Steps = append(l.Steps, st)
	}
	lost := func(key, name string, is time.Duration) {
		switch {
		case is > 0:
			put(key, name, is, "loss")
		case is < 0: // more than was to be had
			put(key, name, is, "gain")
		}
	}
	put("planned", "Planned time", s.Planned, "")
	lost("stopped", "Stopped", s.Stopped)
	lost("changeover", "Changeover", s.Changeover)
	lost("idle", "Idle", s.Idle)
	lost("unknown", "No data", s.Unknown)
	lost("other", "Planned minutes beyond the window", left-s.Run)
	put("run", "Run time", s.Run, "")
	if s.Unrated != 0 {
		l.Caption += ". Units without an ideal rate: what is lost of the run time is not known"
	} else {
		lost("slow", "Slow, micro-stops", s.Slow)
		lost("speed", "Speed", left-s.IdealTotal)
		put("net", "Ideal time of all units", s.IdealTotal, "")
		lost("quality", "Rejected", s.IdealTotal-s.IdealGood)
		put("productive", "Fully productive time", s.IdealGood, "")
	}
	full := 1.0
	for _, st := range l.Steps {
		full = max(full, st.From+st.Length)
	}
	for i := range l.Steps {
		l.Steps[i].Full = full
	}
	return l
}

// maxReasons bounds the rows of a Pareto: a machine may say anything as its
// reason.
const maxReasons = 12

// stops is the Pareto of the reasons of stops.
func (r *Report) stops(x oee.Result) *stops {
	var all time.Duration
	var rows []oee.Stop
	for _, s := range x.Stops {
		if !r.lost(s.Class) {
			continue
		}
		all += s.Time
		rows = append(rows, s)
	}
	if len(rows) == 0 {
		return &stops{Caption: "No stops but planned ones."}
	}
	p := &stops{Caption: "Longest first, without planned stops; Σ is the share of this and all longer ones"}
	if len(rows) > maxReasons {
		var rest oee.Stop
		for _, s := range rows[maxReasons-1:] {
			rest.Time += s.Time
			rest.Number += s.Number
		}
		rest.Reason = plural(int64(len(rows)-maxReasons+1), "further reason")
		rows = append(rows[:maxReasons-1:maxReasons-1], rest)
	}
	longest := time.Duration(1)
	for _, s := range rows {
		longest = max(longest, s.Time)
	}
	var so time.Duration
	for _, s := range rows {
		so += s.Time
		row := stopRow{Reason: reason(s), Minutes: minutes(s.Time), Number: grouped(decimal(s.Number, 1)), Length: float64(s.Time) / float64(longest), Cumulative: dash}
		if all > 0 {
			row.Cumulative = percent(float64(so)/float64(all), true)
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// lost says whether time of a class is lost: neither run nor planned to be off.
func (r *Report) lost(class oee.Class) bool {
	switch r.losses[class] {
	case oee.NoLoss, oee.PlannedLoss:
		return false
	case oee.DefaultLoss:
		return class != oee.PlannedStop
	default:
		return true
	}
}

// reason is what a stop is called: with its class where that is not stopped.
func reason(s oee.Stop) string {
	name := "no reason given"
	if s.Reason != "" {
		name = shown(s.Reason)
	}
	if s.Class != oee.Stopped && s.Class != oee.Unknown {
		name += " (" + classNames[s.Class] + ")"
	}
	return name
}

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(decimal(n, 1)) + " " + one + "s"
}
