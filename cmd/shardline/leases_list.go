package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/shardline/shardline/checkpoint"
)

// lagReads bounds the reads of --lag that are under way.
const lagReads = 8

type leasesListOptions struct {
	config, source string
	json, lag      bool
	watch          time.Duration
}

func newLeasesListCommand(env environment) *cobra.Command {
	var o leasesListOptions
	command := &cobra.Command{
		Use:   "list",
		Short: "Print every lease: who holds it, whether it is renewed, where it stands, who is behind",
		Long: `Prints every lease of the table. The table holds no times, so it is watched for a
little more than the time between two renewals: RENEWED says since when a lease
was renewed at most ("< 1.2s ago"), or for how long it was not ("not for 3.9s").
Owners that are no Shardline workers are marked.

--lag reads one record at each checkpoint, with the sources' roles: of the five
reads a second that a shard answers to all its consumers, one.

With --json one line per lease; the fields are described in docs/leases.md.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return listLeases(command.Context(), env, o) },
	}
	configFlag(command, &o.config)
	command.Flags().StringVar(&o.source, "source", "", "only the leases of this source")
	command.Flags().BoolVar(&o.json, "json", false, "print JSON lines")
	command.Flags().BoolVar(&o.lag, "lag", false, "read how far each checkpoint is behind the tip of its shard")
	watchFlag(command, &o.watch, "how long to watch for renewals; 0: do not (default: a third of leases.failover, and a little)")
	return command
}

// listedLease is one lease's line. Fields are added, never renamed.
type listedLease struct {
	Lease         string         `json:"lease"`
	Stream        string         `json:"stream"`
	Shard         string         `json:"shard"`
	Source        string         `json:"source"`
	Owner         string         `json:"owner"`
	HandingOver   string         `json:"handing_over"`
	Shardline     bool           `json:"shardline"`
	Tenure        string         `json:"tenure"`
	Counter       int64          `json:"counter"`
	RenewedWithin *float64       `json:"renewed_within_seconds"`
	UnrenewedFor  *float64       `json:"unrenewed_for_seconds"`
	Checkpoint    string         `json:"checkpoint"`
	Lag           *float64       `json:"lag_seconds"`
	LagError      string         `json:"lag_error"`
	Roster        []string       `json:"roster"`
	Behind        []listedBehind `json:"behind"`
	Parents       []string       `json:"parents"`
	Children      []string       `json:"children"`
	HashFrom      string         `json:"hash_from"`
	HashTo        string         `json:"hash_to"`
	Throughput    *float64       `json:"throughput_kbps"`
	Damage        []string       `json:"damage"`
}

// listedBehind is a subscriber that is behind.
type listedBehind struct {
	Subscriber string `json:"subscriber"`
	At         string `json:"at"`
	ParkedKeys int    `json:"parked_keys"`
}

func listLeases(ctx context.Context, env environment, o leasesListOptions) error {
	t, err := openLeases(ctx, env, o.config)
	if err != nil {
		return err
	}
	defer t.close()
	if o.watch < 0 {
		o.watch = t.config.Leases.Failover/3 + watchMargin(t.config.Leases.Failover)
	}
	what := selection{all: o.source == "", source: o.source}
	if _, err := t.choose(nil, what); err != nil { // before the watch
		return err
	}
	w, err := t.store.Watch(ctx, o.watch, watchEvery(t.config.Leases.Failover))
	if err != nil {
		return err
	}
	rows, err := t.choose(w.Last.Rows(), what)
	if err != nil {
		return err
	}
	lines := make([]listedLease, len(rows))
	for i, row := range rows {
		lines[i] = t.listed(row, w, o.watch > 0)
	}
	if o.lag {
		t.lags(ctx, rows, lines)
	}
	show := printLeaseTable
	if o.json {
		show = printLeaseLines
	}
	if err := show(env.stdout, t.config.LeaseTable(), lines); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if n := len(w.Last.Items) - len(w.Last.Rows()); n > 0 {
		fmt.Fprintf(env.stderr, "shardline: table %s has %s beside its leases: see leases check\n", t.config.LeaseTable(), count(n, "item"))
	}
	return nil
}

// listed is the line of a lease.
func (t *leaseTables) listed(row checkpoint.Row, w checkpoint.Watched, watched bool) listedLease {
	l := listedLease{Lease: row.Key, Stream: row.Stream, Shard: row.Shard, Owner: row.Owner, HandingOver: row.HandingOver, Tenure: row.Tenure,
		Counter: row.Counter, Checkpoint: row.Checkpoint.String(), Roster: none(row.Roster), Behind: []listedBehind{}, Parents: none(row.Parents),
		Children: none(row.Children), HashFrom: row.HashFrom, HashTo: row.HashTo, Damage: []string{}}
	if s := t.sourceOf(row.Lease); s != nil {
		l.Source = s.Name
	}
	_, l.Shardline = row.Holder()
	if age := w.Ages[row.Key]; row.Owner != "" && watched {
		seconds := age.Ago.Seconds()
		if age.Renewed {
			l.RenewedWithin = &seconds
		} else {
			l.UnrenewedFor = &seconds
		}
	}
	for _, name := range slices.Sorted(maps.Keys(row.Behind)) {
		e := row.Behind[name]
		l.Behind = append(l.Behind, listedBehind{Subscriber: name, At: e.At.String(), ParkedKeys: len(e.Keys)})
	}
	if row.Throughput > 0 {
		l.Throughput = &row.Throughput
	}
	for _, f := range row.Damage {
		l.Damage = append(l.Damage, f.Attribute+": "+f.Text)
	}
	if unreadable(row) {
		l.Checkpoint = ""
	}
	return l
}

// unreadable says that the checkpoint itself cannot be read. Of other damage,
// such as a roster that is gone, it knows nothing.
func unreadable(row checkpoint.Row) bool {
	return slices.ContainsFunc(row.Damage, func(f checkpoint.Finding) bool { return strings.HasPrefix(f.Attribute, "checkpoint") })
}

// none is an empty list rather than null.
func none(s []string) []string { return append([]string{}, s...) }

// lags reads the lag of every unfinished lease whose stream a source names. What
// cannot be read is said in the line.
func (t *leaseTables) lags(ctx context.Context, rows []checkpoint.Row, lines []listedLease) {
	type reached struct {
		stream string // the StreamID that the leases must have
		lag    func(ctx context.Context, shard string, at checkpoint.Position) (time.Duration, error)
		err    error
	}
	var mu sync.Mutex // guards sources
	sources := map[string]func() reached{}
	reach := func(name string) reached {
		mu.Lock()
		get, ok := sources[name]
		if !ok {
			get = sync.OnceValue(func() reached {
				s, err := t.source(name)
				if err != nil {
					return reached{err: err}
				}
				stream, err := t.stream(s)
				if err != nil {
					return reached{err: err}
				}
				is, err := stream.Stream(ctx)
				return reached{checkpoint.StreamID(is.Account, is.Name, is.Created), stream.Lag, err}
			})
			sources[name] = get
		}
		mu.Unlock()
		return get()
	}
	var g errgroup.Group
	g.SetLimit(lagReads)
	for i, row := range rows {
		if unreadable(row) || row.Finished() {
			continue
		}
		g.Go(func() error {
			line := &lines[i]
			if line.Source == "" {
				line.LagError = "no source of the configuration has this stream"
				return nil
			}
			r := reach(line.Source)
			switch {
			case r.err != nil:
				line.LagError = r.err.Error()
				return nil
			case row.Stream != "" && row.Stream != r.stream:
				line.LagError = "the stream was deleted and made again: it is now " + r.stream
				return nil
			}
			lag, err := r.lag(ctx, row.Shard, row.Checkpoint)
			if err != nil {
				line.LagError = err.Error()
				return nil
			}
			seconds := lag.Seconds()
			line.Lag = &seconds
			return nil
		})
	}
	_ = g.Wait() // none returns an error
}

func printLeaseLines(out io.Writer, _ string, lines []listedLease) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, l := range lines {
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// printLeaseTable prints one table per stream.
func printLeaseTable(out io.Writer, table string, lines []listedLease) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintf(out, "table %s has no leases\n", table)
		return err
	}
	var streams []string
	of := map[string][]listedLease{}
	lagged := false
	for _, l := range lines {
		if of[l.Stream] == nil {
			streams = append(streams, l.Stream)
		}
		of[l.Stream] = append(of[l.Stream], l)
		lagged = lagged || l.Lag != nil || l.LagError != ""
	}
	for i, stream := range streams {
		if i > 0 {
			fmt.Fprintln(out)
		}
		title := "table " + cell(table)
		if stream != "" {
			title = "stream " + cell(stream)
		}
		source := cell(of[stream][0].Source)
		if source == "-" {
			source = "none of the configuration"
		}
		fmt.Fprintf(out, "%s, source %s: %s\n", title, source, count(len(of[stream]), "lease"))
		columns := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		head := "SHARD\tOWNER\tRENEWED\tCHECKPOINT\t"
		if lagged {
			head += "LAG\t"
		}
		fmt.Fprintln(columns, head+"BEHIND\tPARENTS\tCHILDREN\tKB/S")
		for _, l := range of[stream] {
			fmt.Fprintln(columns, strings.Join(leaseCells(l, lagged), "\t"))
		}
		if err := columns.Flush(); err != nil {
			return err
		}
		for _, l := range of[stream] {
			for _, d := range l.Damage {
				fmt.Fprintf(out, "%s: cannot be read: %s\n", cell(l.Lease), cell(d))
			}
			if l.LagError != "" {
				fmt.Fprintf(out, "%s: no lag: %s\n", cell(l.Lease), cell(l.LagError))
			}
		}
	}
	return nil
}

// leaseCells are the cells of a lease's line.
func leaseCells(l listedLease, lagged bool) []string {
	shard := l.Shard
	if shard == "" {
		shard = l.Lease
	}
	cells := []string{cell(shard), ownerCell(l), renewedCell(l), cell(l.Checkpoint)}
	if l.Checkpoint == "" {
		cells[3] = "cannot be read"
	}
	if lagged {
		lag := "-"
		if l.Lag != nil {
			lag = time.Duration(*l.Lag * float64(time.Second)).Round(100 * time.Millisecond).String()
		}
		cells = append(cells, lag)
	}
	throughput := "-"
	if l.Throughput != nil {
		throughput = fmt.Sprintf("%.1f", *l.Throughput)
	}
	return append(cells, behindCell(l.Behind), cell(l.Parents...), cell(l.Children...), throughput)
}

// ownerCell marks owners that are no Shardline workers. One without a tenure
// that is not renewed may be a worker that has yet to take what it was given.
func ownerCell(l listedLease) string {
	mark := ""
	if l.Owner != "" && !l.Shardline {
		mark = " (KCL)"
		if l.Tenure == "" && l.RenewedWithin == nil {
			mark = " (no tenure)"
		}
	}
	if l.HandingOver != "" {
		return cell(l.HandingOver) + mark + " → " + cell(l.Owner)
	}
	return cell(l.Owner) + mark
}

func renewedCell(l listedLease) string {
	round := func(seconds float64) string {
		return time.Duration(seconds * float64(time.Second)).Round(100 * time.Millisecond).String()
	}
	switch {
	case l.Owner == "":
		return "-"
	case l.RenewedWithin != nil:
		return "< " + round(*l.RenewedWithin) + " ago"
	case l.UnrenewedFor != nil:
		return "not for " + round(*l.UnrenewedFor)
	}
	return "?"
}

// behindCell names a few of those behind; the rest is a number.
func behindCell(behind []listedBehind) string {
	const most = 3
	var names []string
	for i, b := range behind {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(behind)-most))
			break
		}
		name := b.Subscriber
		if b.ParkedKeys > 0 {
			name += fmt.Sprintf(" (%s)", count(b.ParkedKeys, "key"))
		}
		names = append(names, name)
	}
	return cell(names...)
}
