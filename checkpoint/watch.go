package checkpoint

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Age says how long ago a lease was renewed, as far as watching the table can
// tell: there are no times in it, and clocks of workers are never compared.
type Age struct {
	// Renewed: a write of the owner was seen, at most Ago ago. Without it there
	// was none for at least Ago.
	Renewed bool
	Ago     time.Duration
}

// Watched is what watching the tables showed.
type Watched struct {
	First, Last Reading
	Ages        map[string]Age // by lease key, of the leases in Last
}

// Watch reads the tables, looks at the leases every now and then, and reads
// the tables again when the period has passed. With period 0 it reads once.
// Reads are consistent; nothing is written.
func (d *DynamoDB) Watch(ctx context.Context, period, every time.Duration) (Watched, error) {
	ages := ageing{}
	first, err := d.Read(ctx)
	if err != nil {
		return Watched{}, err
	}
	// The lease table was read before this moment: what it showed stood then.
	began := time.Now()
	ages.see(first, began, began)
	w := Watched{First: first, Last: first}
	for period > 0 {
		left := period - time.Since(began)
		if !sleep(ctx, max(0, min(every, left))) {
			return Watched{}, fmt.Errorf("watch table %s: %w", d.table, context.Cause(ctx))
		}
		asked := time.Now()
		last := asked.Sub(began) >= period
		r := Reading{Table: d.table, Format: d.format}
		if last {
			r, err = d.Read(ctx)
		} else {
			r.Items, err = d.readAll(ctx, d.table)
		}
		if err != nil {
			return Watched{}, err
		}
		ages.see(r, asked, time.Now())
		if last {
			w.Last = r
			break
		}
	}
	w.Ages = ages.of(time.Now())
	return w, nil
}

// ageing notes when leases were seen as they are.
type ageing map[string]seenLease

type seenLease struct {
	as      string    // counter, owner, tenure and who hands over
	since   time.Time // the lease has been so since then at the latest
	until   time.Time // and was not so before then
	last    time.Time // and was still so then
	changed bool      // it was seen to change
}

// see notes a reading that was asked for and answered at these times.
func (a ageing) see(r Reading, asked, answered time.Time) {
	now := ageing{}
	for _, it := range r.Items {
		key := text(it, aLeaseKey)
		read := reading{item: it}
		as := strings.Join([]string{fmt.Sprint(read.number(aCounter, false)), text(it, aOwner), text(it, aTenure), text(it, aHandingOver)}, "\n")
		s, known := a[key]
		switch {
		case !known:
			s = seenLease{as: as, since: answered, until: answered}
		case s.as != as:
			s = seenLease{as: as, since: answered, until: s.last, changed: true}
		}
		s.last = asked
		now[key] = s
	}
	clear(a)
	maps.Copy(a, now)
}

// of are the ages at the end of the watch.
func (a ageing) of(end time.Time) map[string]Age {
	ages := make(map[string]Age, len(a))
	for key, s := range a {
		if s.changed {
			ages[key] = Age{Renewed: true, Ago: end.Sub(s.until)}
		} else {
			ages[key] = Age{Ago: max(0, s.last.Sub(s.since))}
		}
	}
	return ages
}

// CheckOwners finds what is wrong with who holds the leases of a watch. failover
// is the workers'; shared says that KCL workers may hold some.
func CheckOwners(w Watched, failover time.Duration, shared bool) []Finding {
	var found []Finding
	strangers := map[string][]Row{}
	processes := map[string]map[string][]Row{} // by worker, by process
	for _, row := range w.Last.Rows() {
		worker, shardline := row.Holder()
		age := w.Ages[row.Key]
		switch {
		case worker == "":
		case shardline:
			if processes[worker] == nil {
				processes[worker] = map[string][]Row{}
			}
			p := processOf(row.Tenure)
			processes[worker][p] = append(processes[worker][p], row)
		case age.Renewed || row.Tenure != "":
			strangers[worker] = append(strangers[worker], row)
		}
		if row.HandingOver != "" && !age.Renewed && age.Ago > failover {
			found = append(found, Finding{Severity: Warning, Kind: "stale_handover", Table: w.Last.Table, Lease: row.Key, Attribute: aHandingOver, Other: row.HandingOver,
				Text: fmt.Sprintf("%s should hand it over to %s, and has not renewed it for %s: it is dead", row.HandingOver, row.Owner, age.Ago.Round(time.Second)),
				Do:   "nothing while workers run: they take it; else leases release " + row.Key})
		}
	}
	for _, worker := range slices.Sorted(maps.Keys(strangers)) {
		if rows := strangers[worker]; !shared {
			found = append(found, Finding{Severity: Error, Kind: "kcl_worker", Table: w.Last.Table, Lease: rows[0].Key, Attribute: aOwner, Other: worker,
				Text: fmt.Sprintf("%s held by %s, which is no Shardline worker: it does not deliver to the subscribers that are behind", leases(len(rows)), worker),
				Do:   "stop the Kinesis Client Library's workers of this application, or set leases.shared_with_kcl on every Shardline worker for the time of a migration"})
		}
	}
	for _, worker := range slices.Sorted(maps.Keys(processes)) {
		found = append(found, doubles(w, worker, processes[worker])...)
	}
	return sorted(found)
}

// doubles is the finding of processes under one worker id.
func doubles(w Watched, worker string, processes map[string][]Row) []Finding {
	if len(processes) < 2 {
		return nil
	}
	f := Finding{Severity: Warning, Kind: "two_processes", Table: w.Last.Table, Attribute: aTenure, Other: worker,
		Text: fmt.Sprintf("leases under the worker id %s have tenures of %d processes: it was restarted with the id, or two run", worker, len(processes)),
		Do:   "give every process its own worker_id, or leave it empty"}
	live := 0
	for _, p := range slices.Sorted(maps.Keys(processes)) {
		rows := processes[p]
		if f.Lease == "" {
			f.Lease = rows[0].Key
		}
		if slices.ContainsFunc(rows, func(row Row) bool { return w.Ages[row.Key].Renewed }) {
			live++
		}
	}
	if live > 1 {
		f.Severity = Error
		f.Text = fmt.Sprintf("%d processes renew leases under the worker id %s at the same time: each may believe that it owns the other's", live, worker)
	}
	return []Finding{f}
}
