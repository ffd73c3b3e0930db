package oee

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// ResultSchema is the version of the JSON form of results.
const ResultSchema = 1

// MarshalJSON writes the result with its sums and ratios: seconds and units as
// exact decimals, null for a ratio that is undefined.
func (r Result) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON returns.
func (r *Result) AppendJSON(b []byte) []byte {
	b = append(b, `{"schema":`...)
	b = strconv.AppendInt(b, ResultSchema, 10)
	b = appendString(append(b, `,"view":`...), r.View)
	b = appendOptional(append(b, `,"machine":`...), r.Machine)
	if r.Line != "" {
		b = appendString(append(b, `,"line":`...), r.Line)
		b = appendOptional(append(b, `,"bottleneck":`...), r.Bottleneck)
	}
	b = appendWindow(append(b, `,"window":`...), &r.Window)
	b = appendTime(append(b, `,"through":`...), r.Through)

	s := &r.Sums
	for _, d := range [...]struct {
		key string
		d   time.Duration
	}{
		{"length_s", s.Length}, {"planned_s", s.Planned}, {"run_s", s.Run}, {"idle_s", s.Idle},
		{"stopped_s", s.Stopped}, {"changeover_s", s.Changeover}, {"unknown_s", s.Unknown},
		{"unplanned_s", s.Unplanned}, {"planned_stop_s", s.PlannedStop}, {"slow_s", s.Slow},
	} {
		b = appendKey(b, d.key)
		b = appendSeconds(b, d.d)
	}
	b = strconv.AppendInt(append(b, `,"micro_stops":`...), s.MicroStops, 10)
	b = appendUnits(b, s.Total, s.Good, s.Rejected)
	b = appendSeconds(append(b, `,"ideal_total_s":`...), s.IdealTotal)
	b = appendSeconds(append(b, `,"ideal_good_s":`...), s.IdealGood)
	b = s.Unrated.AppendText(append(b, `,"unrated":`...))

	b = appendRatio(append(b, `,"availability":`...), r.Availability)
	b = appendRatio(append(b, `,"performance":`...), r.Performance)
	b = appendRatio(append(b, `,"quality":`...), r.Quality)
	b = appendRatio(append(b, `,"quality_units":`...), r.QualityUnits)
	b = appendRatio(append(b, `,"oee":`...), r.OEE)

	b = append(b, `,"stops":[`...)
	for i, stop := range r.Stops {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"reason":`...), stop.Reason)
		b = appendString(append(b, `,"class":`...), stop.Class.String())
		b = appendSeconds(append(b, `,"seconds":`...), stop.Time)
		b = strconv.AppendInt(append(b, `,"number":`...), stop.Number, 10)
		b = append(b, '}')
	}
	b = append(b, `],"products":[`...)
	for i, out := range r.Outputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"product":`...), out.Product)
		b = appendUnits(b, out.Total, out.Good, out.Rejected)
		b = appendSeconds(append(b, `,"ideal_total_s":`...), out.IdealTotal)
		b = appendSeconds(append(b, `,"ideal_good_s":`...), out.IdealGood)
		b = append(b, '}')
	}
	b = append(b, `],"flags":[`...)
	for i, flag := range r.Flags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, string(flag))
	}
	b = strconv.AppendInt(append(b, `],"revision":`...), r.Revision, 10)
	b = appendString(append(b, `,"state":`...), r.State.String())
	return append(b, '}')
}

func appendWindow(b []byte, w *Window) []byte {
	b = appendString(append(b, `{"kind":`...), w.Kind)
	b = appendString(append(b, `,"name":`...), w.Name)
	b = appendTime(append(b, `,"start":`...), w.Start)
	b = appendTime(append(b, `,"end":`...), w.End)
	b = appendString(append(b, `,"business_date":`...), w.Date)
	return append(b, '}')
}

func appendKey(b []byte, key string) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	return append(b, `":`...)
}

func appendUnits(b []byte, total, good, rejected Units) []byte {
	b = total.AppendText(append(b, `,"total":`...))
	b = good.AppendText(append(b, `,"good":`...))
	return rejected.AppendText(append(b, `,"rejected":`...))
}

func appendSeconds(b []byte, d time.Duration) []byte {
	return appendDecimal(b, int64(d), int64(time.Second))
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendRatio(b []byte, of func() (float64, bool)) []byte {
	f, defined := of()
	if !defined || math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string: no error
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
