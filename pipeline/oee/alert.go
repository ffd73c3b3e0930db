package oee

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Alert is one notice: that something has lasted too long or fallen short, or
// that it is over.
type Alert struct {
	// ID names the episode: an alert that comes again after a crash, and its
	// recovery, have the same.
	ID        string
	View      string
	Name      string // of the AlertConfig
	When      AlertKind
	Machine   string
	Recovered bool
	Since     time.Time // when the episode began
	At        time.Time // when the threshold was passed, or it was over
	State     string    // raw: as of the alert, or what it was over with
	Reason    string

	// Of WhenBelowTarget.
	Window      Window
	OEE, Target float64
}

// AlertSchema is the version of the JSON form of alerts.
const AlertSchema = 1

// Text is the alert as a sentence for who stands at the machine.
func (a Alert) Text() string {
	clock := func(t time.Time) string { return t.Format("15:04 MST") }
	lasted := a.At.Sub(a.Since).Round(time.Second)
	reason := ""
	if a.Reason != "" {
		reason = ", reason " + a.Reason
	}
	switch {
	case a.When == WhenBelowTarget:
		window := strings.TrimSpace(a.Window.Kind + " " + a.Window.Name)
		return fmt.Sprintf("%s: OEE was %.1f %% in %s of %s, below the target of %.1f %%.", a.Machine, 100*a.OEE, window, a.Window.Date, 100*a.Target)
	case a.When == WhenNoData && a.Recovered:
		return fmt.Sprintf("%s is heard of again since %s, after %s of silence.", a.Machine, clock(a.At), short(lasted))
	case a.When == WhenNoData:
		return fmt.Sprintf("Nothing was heard of %s since %s, for %s.", a.Machine, clock(a.Since), short(lasted))
	case a.Recovered:
		return fmt.Sprintf("%s is no longer %s since %s, after %s (now %s%s).", a.Machine, a.When, clock(a.At), short(lasted), a.State, reason)
	default:
		return fmt.Sprintf("%s is %s since %s, for %s (%s%s).", a.Machine, a.When, clock(a.Since), short(lasted), a.State, reason)
	}
}

// short is a duration without zeros behind it: 5m, 1h30m.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalJSON writes the alert with its sentence.
func (a Alert) MarshalJSON() ([]byte, error) {
	b := strconv.AppendInt([]byte(`{"schema":`), AlertSchema, 10)
	b = appendString(append(b, `,"id":`...), a.ID)
	b = appendString(append(b, `,"view":`...), a.View)
	b = appendString(append(b, `,"alert":`...), a.Name)
	b = appendString(append(b, `,"when":`...), a.When.String())
	b = appendString(append(b, `,"machine":`...), a.Machine)
	b = strconv.AppendBool(append(b, `,"recovered":`...), a.Recovered)
	b = appendTime(append(b, `,"since":`...), a.Since)
	b = appendTime(append(b, `,"at":`...), a.At)
	if a.When == WhenBelowTarget {
		b = appendWindow(append(b, `,"window":`...), &a.Window)
		b = strconv.AppendFloat(append(b, `,"oee":`...), a.OEE, 'f', -1, 64)
		b = strconv.AppendFloat(append(b, `,"target":`...), a.Target, 'f', -1, 64)
	} else {
		b = appendOptional(append(b, `,"state":`...), a.State)
		b = appendOptional(append(b, `,"reason":`...), a.Reason)
	}
	b = appendString(append(b, `,"text":`...), a.Text())
	return append(b, '}'), nil
}
