package oee_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// alerting is plain with a break and alerts.
func alerting() oee.Config {
	c := plain()
	c.Target = 0.85
	c.Shifts[0].Breaks = []oee.Break{{Start: 10 * time.Hour, Length: 15 * time.Minute}}
	c.Alerts = []oee.AlertConfig{
		{Name: "idle", When: oee.WhenIdle, Longer: 5 * time.Minute},
		{Name: "stopped", When: oee.WhenStopped, Longer: 10 * time.Minute},
		{Name: "silent", When: oee.WhenNoData, Longer: 30 * time.Minute},
		{Name: "target", When: oee.WhenBelowTarget, Window: oee.WindowConfig{Kind: oee.ShiftWindow}},
	}
	return c
}

// told is alerts in short: name, "+" or "-" when it is over, since, at.
func told(alerts []oee.Alert) string {
	var all []string
	for _, a := range alerts {
		sign := "+"
		if a.Recovered {
			sign = "-"
		}
		all = append(all, a.Name+sign+a.Since.Format("15:04")+">"+a.At.Format("15:04"))
	}
	return strings.Join(all, " ")
}

// One notice per episode, at the threshold by event time, and one that it is
// over; reasons, repeats and samples in between are the same episode.
func TestAlertOncePerEpisode(t *testing.T) {
	v := newView(t, alerting())
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), state("07:00", "IDLE"), state("07:04:59", "IDLE"))
	check(t, "before", told(v.Alerts()), "")
	f.apply(state("07:05", "IDLE"))
	check(t, "at the threshold", told(v.Alerts()), "idle+07:00>07:05")
	f.apply(oee.Event{Time: at("07:20"), State: "IDLE", Reason: "no parts"}, state("07:30", "IDLE"))
	check(t, "again", told(v.Alerts()), "")
	f.apply(state("07:40", "RUN"))
	check(t, "over", told(v.Alerts()), "idle-07:00>07:40")
	f.apply(state("08:00", "IDLE"), state("08:04", "RUN"), state("08:05", "STOP"), state("08:10", "FAULT"), state("08:30", "IDLE"))
	check(t, "short idle, long stop", told(v.Alerts()), "stopped+08:05>08:15 stopped-08:05>08:30")
	f.apply(state("08:40", "RUN"))
	check(t, "found late", told(v.Alerts()), "idle+08:30>08:35 idle-08:30>08:40")
}

// Breaks and what is outside planned time do not count, and nothing is told in
// them.
func TestNoAlertInBreaks(t *testing.T) {
	v := newView(t, alerting())
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), state("09:58", "IDLE"))
	v.Advance(at("10:14"))
	f.apply(state("10:14", "IDLE"))
	check(t, "in the break", told(v.Alerts()), "") // 2 minutes so far
	f.apply(state("10:17:59", "IDLE"))
	check(t, "after it", told(v.Alerts()), "")
	f.apply(state("10:18", "IDLE"))
	check(t, "2 + 3 minutes", told(v.Alerts()), "idle+09:58>10:18")
	f.apply(state("10:20", "RUN"), state("13:58", "IDLE"))
	v.Alerts()
	f.apply(oee.Event{Time: at("06:02").Add(24 * time.Hour), State: "IDLE"})
	check(t, "over night", told(v.Alerts()), "")
	f.apply(oee.Event{Time: at("06:03").Add(24 * time.Hour), State: "IDLE"})
	check(t, "2 minutes yesterday, 3 today", told(v.Alerts()), "idle+13:58>06:03")
}

// With no further event the time does it: the machine's, moved on by the idle
// time-out, for its state, and the clock for its silence.
func TestAlertByTime(t *testing.T) {
	c := alerting()
	c.Idle = time.Minute
	v := newView(t, c)
	f := feed{view: v}
	v.Advance(at("06:00"))
	f.apply(state("06:00", "IDLE"))
	v.Advance(at("06:05:59"))
	check(t, "before", told(v.Alerts()), "")
	v.Advance(at("06:06"))
	check(t, "idle", told(v.Alerts()), "idle+06:00>06:05")
	v.Advance(at("06:29"))
	check(t, "not yet silent", told(v.Alerts()), "")
	v.Advance(at("06:30"))
	check(t, "silent", told(v.Alerts()), "silent+06:00>06:30")
	v.Advance(at("07:30"))
	check(t, "once", told(v.Alerts()), "")
	f.apply(state("07:31", "IDLE"))
	check(t, "heard of, still idle", told(v.Alerts()), "silent-06:00>07:31")
	v.Advance(at("09:55"))
	check(t, "silent again", told(v.Alerts()), "silent+07:31>08:01")
}

// A silence that only a break makes long is none.
func TestSilenceInABreak(t *testing.T) {
	v := newView(t, alerting())
	f := feed{view: v}
	f.apply(state("09:40", "RUN"))
	v.Advance(at("10:10"))
	check(t, "in the break", told(v.Alerts()), "")
	v.Advance(at("10:20"))
	check(t, "25 minutes of planned time", told(v.Alerts()), "")
	v.Advance(at("10:25"))
	check(t, "30 minutes", told(v.Alerts()), "silent+09:40>10:25")
}

// A late event that ends an episode, or shows one, does so once.
func TestAlertAndLateEvents(t *testing.T) {
	v := newView(t, alerting())
	f := feed{view: v}
	f.apply(state("07:00", "IDLE"), state("07:06", ""), oee.Event{Time: at("07:06"), Total: units(1)})
	check(t, "idle", told(v.Alerts()), "idle+07:00>07:05")
	f.apply(state("07:03", "RUN")) // it ran all the time
	check(t, "over", told(v.Alerts()), "idle-07:00>07:06")
	f.apply(state("06:59", "STOP"), state("07:12", "RUN"))
	check(t, "nothing", told(v.Alerts()), "")
}

// OEE below the target at the shift's end is told once, however it is revised.
func TestBelowTarget(t *testing.T) {
	v := newView(t, alerting())
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), made("07:00", 200, 200), state("14:00", "RUN"))
	v.Early()
	check(t, "before results are made", told(v.Alerts()), "")
	v.Results()
	alerts := v.Alerts()
	check(t, "at the end", told(alerts), "target+06:00>14:00")
	check(t, "sentence", alerts[0].Text(), "m1: OEE was 43.0 % in shift early of 2026-11-24, below the target of 85.0 %.") // 200 / 465
	f.apply(made("13:55", 10, 10), state("14:30", "RUN"))
	v.Results()
	check(t, "revised", told(v.Alerts()), "")
}

// Sentences and JSON.
func TestAlertText(t *testing.T) {
	c := alerting()
	c.Zone = zone(t, "Europe/Berlin")
	v := newView(t, c)
	f := feed{view: v}
	f.apply(oee.Event{Time: at("07:00"), State: "IDLE", Reason: "no <parts>"}, state("07:30", "RUN"))
	alerts := v.Alerts()
	check(t, "alert", alerts[0].Text(), "m1 is idle since 08:00 CET, for 5m (IDLE, reason no <parts>).")
	check(t, "recovery", alerts[1].Text(), "m1 is no longer idle since 08:30 CET, after 30m (now RUN).")
	check(t, "one episode", alerts[0].ID, alerts[1].ID)
	text, err := json.Marshal(alerts[0])
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	check(t, "json", fmt.Sprintf("%v %v %v %v", got["id"], got["reason"], got["since"], got["recovered"]), "plant-1/m1/idle/2026-11-24T07:00:00Z no <parts> 2026-11-24T08:00:00+01:00 false")
}

// A restart repeats nothing that was told, tells again what may not be out,
// and goes on with what is open: at every place of the history.
func TestAlertsOverRestarts(t *testing.T) {
	events := []oee.Event{
		state("06:00", "RUN"), state("07:00", "IDLE"), state("07:04", "IDLE"), state("07:06", "IDLE"), state("07:10", "IDLE"), state("07:12", "RUN"),
		state("07:30", "STOP"), state("07:39", "STOP"), state("07:41", "FAULT"), state("08:00", "RUN"), state("08:01", "IDLE"), state("09:00", "RUN"),
	}
	want := "idle+07:00>07:05 idle-07:00>07:12 stopped+07:30>07:40 stopped-07:30>08:00 idle+08:01>08:06 idle-08:01>09:00"
	for cut := range len(events) + 1 {
		v := newView(t, alerting())
		f := feed{view: v}
		f.apply(events[:cut]...)
		got := v.Alerts()
		next := cut
		if oldest, waiting := v.Oldest("plc/0"); waiting {
			next = int(oldest) - 1
		}
		var items []oee.Item
		if cut > 0 {
			items = v.Save("m1")
		}
		v.Told() // what is out is known only here: it is told again
		for name, items := range map[string][]oee.Item{"again": items, "once": v.Save("m1")} {
			if items == nil {
				continue // nothing had gone out
			}
			again := newView(t, alerting())
			if err := again.Restore("m1", items, time.Time{}); err != nil {
				t.Fatal(err)
			}
			f := feed{view: again, next: uint64(next)}
			f.apply(events[next:]...)
			rest := again.Alerts()
			if name == "again" {
				check(t, fmt.Sprint(name, " ", cut), told(rest), want)
			} else {
				check(t, fmt.Sprint(name, " ", cut), strings.TrimSpace(told(got)+" "+told(rest)), want)
			}
		}
	}
}
