package oee_test

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shardline/shardline/pipeline/oee"
)

// worker is whoever owns a machine: it reads its shard, saves, and dies.
type worker struct {
	t     *rapid.T
	h     *history
	shard []oee.Event

	dies bool

	view   *oee.View
	next   int // index in shard of the next event
	out    []oee.Result
	alerts []oee.Alert

	// What outlives it.
	items    map[string]oee.Item
	position int // index in shard from which a successor reads
	rows     int // of the history's rows, how many were put
	known    int // and how many of those were told of before the last save
	told     *ledger
	warned   []oee.Alert
}

// start begins as a successor does: what was saved, then the rows.
func (w *worker) start() {
	w.view, w.next = newView(w.t, w.h.config), w.position
	w.out, w.alerts = nil, nil
	if _, saved := w.items[oee.MachineKey()]; saved {
		// Hours and reports are read from some hour on; what is older when it is
		// needed.
		from := time.Time{}
		if rapid.Bool().Draw(w.t, "not all") {
			from = w.h.events[0].Time.Add(time.Duration(rapid.IntRange(0, 40).Draw(w.t, "from")) * time.Hour)
		}
		if err := w.view.Restore("m1", w.itemsFrom(from), from); err != nil {
			w.t.Fatal(err)
		}
	}
	for i, r := range w.h.rows[:w.rows] {
		if i < w.known {
			w.view.Know(r)
		} else {
			w.view.Put(r)
		}
	}
}

func (w *worker) itemsFrom(from time.Time) (items []oee.Item) {
	hours, reports := "", ""
	if !from.IsZero() {
		hours, reports = oee.HourKeys(from)
	}
	for _, key := range slices.Sorted(maps.Keys(w.items)) {
		if strings.HasPrefix(key, "hour/") && key < hours || strings.HasPrefix(key, "reports/") && key < reports {
			continue
		}
		items = append(items, w.items[key])
	}
	return items
}

// tell takes results, loading what they need. They go out after the next save.
func (w *worker) tell() {
	for range 3 {
		w.out = append(w.out, w.view.Results()...)
		w.out = append(w.out, w.view.Early()...)
		for _, need := range w.view.Needs() {
			if err := w.view.Load(need.Machine, w.itemsFrom(need.From), need.From); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.alerts = append(w.alerts, w.view.Alerts()...)
}

// save is a round; false: it died somewhere in it.
func (w *worker) save() bool {
	w.tell()
	next := w.next
	if oldest, waiting := w.view.Oldest("plc/0"); waiting {
		next = int(oldest) - 1
	}
	dies := func(where string) bool { return w.dies && rapid.IntRange(0, 15).Draw(w.t, where) == 0 }
	for _, name := range w.view.Unsaved() {
		for _, item := range w.view.Save(name) {
			if dies("dies writing") {
				return false
			}
			w.items[item.Key] = item
		}
	}
	w.known = w.rows
	if dies("dies before the position") {
		return false
	}
	w.position = next
	if dies("dies before telling") {
		return false
	}
	w.told.take(w.out)
	w.warned = append(w.warned, w.alerts...)
	w.out, w.alerts = nil, nil
	if dies("dies after telling") {
		return false
	}
	w.view.Told()
	if w.dies && rapid.IntRange(0, 3).Draw(w.t, "trims") == 0 {
		w.view.Trim(time.Duration(rapid.IntRange(1, 30).Draw(w.t, "keep")) * time.Hour)
	}
	return true
}

// TestCrashes: a machine whose worker dies at any point, also between two
// writes, and whose successor reads from the saved position again, has the same
// figures as in one pass, and its hours are saved byte for byte the same.
func TestCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := anyHistory(t)
		h.config.Alerts = []oee.AlertConfig{
			{Name: "idle", When: oee.WhenIdle, Longer: 20 * time.Minute},
			{Name: "stopped", When: oee.WhenStopped, Longer: time.Hour},
		}
		shard := h.arrive(t)
		once := pass(t, &h, shard, false)
		often := pass(t, &h, shard, true)
		if err := often.view.Load("m1", often.itemsFrom(time.Time{}), time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got, want := figures(often.view, &h), figures(once.view, &h); got != want {
			t.Fatalf("%s", difference(got, want, &h))
		}
		often.told.check(often.view, &h)
		for key, item := range once.items {
			if strings.HasPrefix(key, "hour/") && !bytes.Equal(item.Data, often.items[key].Data) {
				t.Fatalf("%s differs", key)
			}
		}
		if got, want := len(often.items), len(once.items); got < want {
			t.Fatalf("%d items, not %d", got, want)
		}
		if n := often.view.Side(oee.SideLate).Count; n != 0 {
			t.Fatalf("%d events were late", n)
		}
	})
}

// pass reads the shard to its end, with or without deaths.
func pass(t *rapid.T, h *history, shard []oee.Event, dies bool) *worker {
	w := &worker{t: t, h: h, shard: shard, dies: dies, items: map[string]oee.Item{}, told: newLedger(t)}
	w.start()
	deaths := 0
	for w.next < len(w.shard) {
		e := w.shard[w.next]
		w.next++
		w.view.Apply(e)
		if n := w.next * len(h.rows) / len(shard); n > w.rows {
			for _, r := range h.rows[w.rows:n] {
				w.view.Put(r)
			}
			w.rows = n
		}
		alive := true
		if dies {
			switch rapid.IntRange(0, 7).Draw(t, "then") {
			case 0:
				alive = false
			case 1, 2:
				alive = w.save()
			case 3:
				w.tell()
			}
		}
		if !alive {
			if deaths++; deaths > 20 {
				w.dies, dies = false, false
			}
			w.told.died = true
			w.start()
		}
	}
	w.dies = false
	w.view.FinishAt(h.end())
	w.save()
	w.save()
	return w
}

// TestSavedTwice: what was saved and restored is saved the same.
func TestSavedTwice(t *testing.T) {
	c := plain()
	c.Alerts = []oee.AlertConfig{{Name: "idle", When: oee.WhenIdle, Longer: time.Minute}}
	v := newView(t, c)
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), made("07:00", 10, 9), state("08:00", "IDLE"), state("09:30", "RUN"), made("12:00", 5, 5))
	v.Results()
	items := v.Save("m1")
	for _, item := range items {
		t.Logf("%s: %d bytes", item.Key, len(item.Data))
	}
	check(t, "unsaved", len(v.Unsaved()), 0)

	again := newView(t, c)
	if err := again.Restore("m1", items, time.Time{}); err != nil {
		t.Fatal(err)
	}
	check(t, "changed", len(again.Unsaved()), 0)
	f = feed{view: again, next: 4} // the last event waits: it is read again
	f.apply(made("12:00", 5, 5))
	f.apply(made("12:00", 5, 5), made("13:00", 1, 1)) // a retry, then a new one
	again.Finish()
	check(t, "good", only(t, again.Results(), "shift").Sums.Good, 15*oee.Unit)
}

// TestShorterLateness: a successor whose configuration has a shorter lateness
// still takes what had waited.
func TestShorterLateness(t *testing.T) {
	v := newView(t, plain())
	f := feed{view: v}
	events := []oee.Event{state("06:00", "RUN"), made("06:01", 1, 1), made("06:03", 2, 2), made("06:09", 4, 4)}
	f.apply(events...)
	items := v.Save("m1")
	c := plain()
	c.Lateness = time.Minute
	again := newView(t, c)
	if err := again.Restore("m1", items, time.Time{}); err != nil {
		t.Fatal(err)
	}
	f = feed{view: again}
	f.apply(events...)
	f.apply(made("06:20", 8, 8))
	again.Finish()
	check(t, "total", only(t, again.Results(), "shift").Sums.Total, 15*oee.Unit)
	check(t, "late", again.Side(oee.SideLate).Count, 0)
}

// TestBrokenItems: what is no item is refused, whatever it is.
func TestBrokenItems(t *testing.T) {
	v := newView(t, plain())
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), made("07:00", 10, 9), state("08:00", "IDLE"), state("12:00", "RUN"))
	items := v.Save("m1")
	for i, item := range items {
		for cut := range len(item.Data) {
			broken := slices.Clone(items)
			broken[i].Data = item.Data[:cut]
			if err := newView(t, plain()).Restore("m1", broken, time.Time{}); err == nil {
				t.Errorf("%s cut at %d of %d bytes is taken", item.Key, cut, len(item.Data))
			}
		}
		broken := slices.Clone(items)
		broken[i].Data = append([]byte{99}, item.Data[1:]...)
		err := newView(t, plain()).Restore("m1", broken, time.Time{})
		if err == nil || !strings.Contains(err.Error(), "its version is 99") {
			t.Errorf("%s of version 99: %v", item.Key, err)
		}
	}
	if err := v.Restore("m1", items, time.Time{}); err == nil {
		t.Error("a machine that is there is restored")
	}
	if err := newView(t, plain()).Restore("m1", items[:len(items)-1], time.Time{}); err == nil {
		t.Error("a machine without its own item is restored")
	}
}

func FuzzItems(f *testing.F) {
	v, err := oee.New(plain())
	if err != nil {
		f.Fatal(err)
	}
	for i := range 8 {
		v.Apply(oee.Event{Machine: "m1", Time: at("06:00").Add(time.Duration(i) * time.Hour), State: []string{"RUN", "IDLE"}[i%2], Total: units(int64(i)), Product: strconv.Itoa(i)})
	}
	v.Results()
	items := v.Save("m1")
	for _, item := range items {
		f.Add(item.Key, item.Data)
	}
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		view := newView(t, plain())
		broken := slices.Clone(items)
		for i := range broken {
			if broken[i].Key == key {
				broken[i].Data = data
			}
		}
		if view.Restore("m1", broken, time.Time{}) != nil {
			return
		}
		view.Apply(oee.Event{Machine: "m1", Time: at("14:00"), State: "RUN", Total: units(1)})
		view.Results()
		view.Windows("m1", "", day, day.Add(48*time.Hour))
	})
}
