package oee

import (
	"slices"
	"time"
)

// alertState is one alert on one machine. An episode begins with the state, or
// with the silence, that the alert watches; it is told of once, when it has
// lasted too long of planned time, and once more when it is over.
type alertState struct {
	open  bool  // the episode was told of, and not that it is over
	since int64 // when the episode began; never: there is none
	due   int64 // when it has lasted too long; forever: not in sight
}

// horizon is how far planned time is followed to see when an alert is due.
const horizon = 60 * 24 * time.Hour

// watches says whether an alert is on states of a class.
func (c *AlertConfig) watches(class Class) bool {
	return c.When == WhenIdle && class == Idle || c.When == WhenStopped && class == Stopped
}

// changed follows the live state into another one, which was seen at at.
func (v *View) changed(m *machine, at int64) {
	class, _ := v.class(m.live.state)
	for i := range v.config.Alerts {
		c, a := &v.config.Alerts[i], &m.alerts[i]
		if c.When != WhenIdle && c.When != WhenStopped {
			continue
		}
		switch watched := c.watches(class); {
		case watched && a.since == never:
			a.since = m.live.since
			a.due = v.dueAt(m, a.since, c.Longer)
		case !watched && a.since != never:
			if a.open && at > m.told {
				v.tell(m, i, at, true)
			}
			if !a.open || at > m.told {
				*a = alertState{since: never, due: forever}
			}
		}
	}
	v.nextDue(m)
	v.passed(m, at)
}

// passed says that the machine's time has come to at in the state that it has.
func (v *View) passed(m *machine, at int64) {
	if at < m.due || at <= m.told {
		return
	}
	for i := range m.alerts {
		c, a := &v.config.Alerts[i], &m.alerts[i]
		if c.When != WhenNoData && !a.open && a.due <= at && a.due <= m.live.until(v.rules.maxHold) {
			v.tell(m, i, a.due, false)
		}
	}
	v.nextDue(m)
}

// nextDue notes when the next alert on a state is due.
func (v *View) nextDue(m *machine) {
	m.due = forever
	for i := range m.alerts {
		if a := &m.alerts[i]; !a.open && v.config.Alerts[i].When != WhenNoData {
			m.due = min(m.due, a.due)
		}
	}
}

// noData looks whether a machine has been silent for too long: at the stream's
// tip alone can that be known.
func (v *View) noData(m *machine) {
	for i := range v.config.Alerts {
		c, a := &v.config.Alerts[i], &m.alerts[i]
		if c.When != WhenNoData || m.heard == never || a.open || v.now-m.heard < int64(c.Longer) {
			continue
		}
		if a.since != m.heard || a.due == forever {
			a.since = m.heard
			a.due = v.dueAt(m, a.since, c.Longer)
		}
		if a.due <= v.now && len(v.plannedIn(m, span{v.now, v.now + 1})) > 0 {
			v.tell(m, i, a.due, false)
		}
	}
}

// heardOf ends a silence.
func (v *View) heardOf(m *machine, at int64) {
	for i := range v.config.Alerts {
		if a := &m.alerts[i]; v.config.Alerts[i].When == WhenNoData {
			if a.open {
				v.tell(m, i, at, true)
			}
			*a = alertState{since: never, due: forever}
		}
	}
}

// windowEnded looks at the OEE of a window that has just ended.
func (v *View) windowEnded(m *machine, w *windowSpan, r *Result) {
	for i := range v.config.Alerts {
		c := &v.config.Alerts[i]
		if c.When != WhenBelowTarget || c.Window != v.config.Windows[w.config] {
			continue
		}
		if figure, defined := r.OEE(); defined && figure < v.config.Target {
			v.send(m, Alert{
				ID: v.episode(r.Machine, c, r.Window.Start), View: v.config.Name, Name: c.Name, When: c.When, Machine: r.Machine,
				Since: r.Window.Start, At: r.Window.End, Window: r.Window, OEE: figure, Target: v.config.Target,
			})
		}
	}
}

// rescheduled looks anew when alerts are due: planned time has changed.
func (v *View) rescheduled(m *machine) {
	for i := range m.alerts {
		if a := &m.alerts[i]; a.since != never && !a.open {
			a.due = v.dueAt(m, a.since, v.config.Alerts[i].Longer)
		}
	}
	v.nextDue(m)
}

// dueAt is when so much planned time has passed since an instant; forever: not
// within the horizon.
func (v *View) dueAt(m *machine, since int64, longer time.Duration) int64 {
	left := longer
	end := since + int64(horizon)
	for from := since; from < end; {
		// A day at a time: most alerts are due within the hour.
		day := v.calendar.date(v.calendar.dateAt(from))
		to := min(day.midnight.to, end)
		for _, plan := range v.plannedIn(m, span{from, to}) {
			if length := plan.length(); length >= left {
				return plan.from + int64(left)
			} else {
				left -= length
			}
		}
		from = to
	}
	return forever
}

// tell gives notice of an episode, or that it is over.
func (v *View) tell(m *machine, i int, at int64, over bool) {
	c, a := &v.config.Alerts[i], &m.alerts[i]
	a.open, m.unsaved = !over, true
	since := v.calendar.local(a.since)
	alert := Alert{
		ID: v.episode(m.name, c, since), View: v.config.Name, Name: c.Name, When: c.When, Machine: m.name,
		Recovered: over, Since: since, At: v.calendar.local(at),
	}
	if h := m.live; c.When != WhenNoData {
		alert.State, alert.Reason = v.names.name(h.state), v.names.name(h.reason)
	}
	v.send(m, alert)
}

// outgoing is an alert that is not known to be out.
type outgoing struct {
	Alert
	given bool // to the caller
}

// maxOutbox bounds the alerts of one machine that wait to be out: beyond it
// the oldest would not be told again after a restart.
const maxOutbox = 64

func (v *View) send(m *machine, a Alert) {
	o := &outgoing{Alert: a}
	v.alerts = append(v.alerts, o)
	if len(m.outbox) == maxOutbox {
		m.outbox = slices.Delete(m.outbox, 0, 1)
	}
	m.outbox = append(m.outbox, o)
	m.unsaved = true
}

// episode names an episode, for ever.
func (v *View) episode(machine string, c *AlertConfig, since time.Time) string {
	return v.config.Name + "/" + machine + "/" + c.Name + "/" + since.UTC().Format(time.RFC3339Nano)
}

// Alerts returns what is due since the last call.
func (v *View) Alerts() []Alert {
	var alerts []Alert
	for _, o := range v.alerts {
		o.given = true
		alerts = append(alerts, o.Alert)
	}
	v.alerts = nil
	return alerts
}
