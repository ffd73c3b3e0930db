package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
)

type leasesCheckOptions struct {
	config      string
	json, clean bool
	watch       time.Duration
}

func newLeasesCheckCommand(env environment) *cobra.Command {
	var o leasesCheckOptions
	command := &cobra.Command{
		Use:   "check",
		Short: "Examine the lease table and say what is wrong with it and what to do",
		Long: `Examines every item of the lease table and what belongs to it in the state table:
attributes that are missing or cannot be read, holes and overlaps in the hash
range, shards at their end that nothing continues, children ahead of their
parents, rosters that are gone, owners that should not be there.

A scan is not made at one instant, so the table is read twice, the fail-over time
apart, and what the first reading alone shows is not reported.

Exits 1 when there is an error; warnings do not count.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return checkLeases(command.Context(), env, o) },
	}
	configFlag(command, &o.config)
	command.Flags().BoolVar(&o.json, "json", false, "print JSON lines")
	command.Flags().BoolVar(&o.clean, "clean", false, "remove what nothing names from the state table; safe while workers run")
	watchFlag(command, &o.watch, "time between the two readings; 0: one reading (default: leases.failover, and a little)")
	return command
}

// foundLine is one finding's line. Fields are added, never renamed.
type foundLine struct {
	Severity  string `json:"severity"`
	Kind      string `json:"kind"`
	Table     string `json:"table"`
	Stream    string `json:"stream"`
	Lease     string `json:"lease"`
	Attribute string `json:"attribute"`
	Other     string `json:"other"`
	Text      string `json:"text"`
	Do        string `json:"do"`
}

func checkLeases(ctx context.Context, env environment, o leasesCheckOptions) error {
	t, err := openLeases(ctx, env, o.config)
	if err != nil {
		return err
	}
	defer t.close()
	failover := t.config.Leases.Failover
	if o.watch < 0 {
		o.watch = failover + watchMargin(failover)
	}
	if o.clean && o.watch < failover {
		return fmt.Errorf("--clean needs a --watch of leases.failover (%s) at least: a save that is under way must be over", failover)
	}
	w, err := t.store.Watch(ctx, o.watch, watchEvery(failover))
	if err != nil {
		return err
	}
	found := checkpoint.Confirmed(checkpoint.Check(w.First), checkpoint.Check(w.Last))
	found = append(found, checkpoint.CheckOwners(w, failover, t.config.Leases.SharedWithKCL)...)
	found = append(found, t.strangers(w.Last)...)
	found = append(found, checkpoint.Orphans(w)...)
	var removed []string
	if o.clean {
		if removed, err = t.store.Clean(ctx, w); err != nil {
			return err
		}
		found = slices.DeleteFunc(found, func(f checkpoint.Finding) bool { return f.Kind == "orphan" && slices.Contains(removed, f.Other) })
	}
	errors := 0
	for _, f := range found {
		if f.Severity == checkpoint.Error {
			errors++
		}
	}
	if err := printFindings(env, o, found); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if !o.json {
		for _, name := range removed {
			fmt.Fprintf(env.stdout, "removed: %s of table %s\n", cell(name), t.config.StateTable())
		}
		fmt.Fprintf(env.stdout, "table %s: %s, %s, %s\n", t.config.LeaseTable(), count(len(w.Last.Rows()), "lease"), count(errors, "error"), count(len(found)-errors, "warning"))
	}
	if errors > 0 {
		return errReported
	}
	return nil
}

// strangers are streams with leases that no source of the configuration reads.
func (t *leaseTables) strangers(r checkpoint.Reading) []checkpoint.Finding {
	var found []checkpoint.Finding
	if t.config.Leases.KeyFormat == config.SingleStream {
		return nil
	}
	told := map[string]bool{}
	for _, row := range r.Rows() {
		if row.Stream == "" || told[row.Stream] || t.sourceOf(row.Lease) != nil {
			continue
		}
		told[row.Stream] = true
		found = append(found, checkpoint.Finding{Severity: checkpoint.Warning, Kind: "no_source", Table: r.Table, Stream: row.Stream,
			Text: "no source of the configuration reads the stream " + row.Stream + ": workers with it leave these leases alone",
			Do:   "add the source, or delete the items when nobody reads the stream any more"})
	}
	return found
}

func printFindings(env environment, o leasesCheckOptions, found []checkpoint.Finding) error {
	encoder := json.NewEncoder(env.stdout)
	encoder.SetEscapeHTML(false)
	for _, f := range found {
		if o.json {
			line := foundLine{Severity: string(f.Severity), Kind: f.Kind, Table: f.Table, Stream: f.Stream, Lease: f.Lease, Attribute: f.Attribute, Other: f.Other, Text: f.Text, Do: f.Do}
			if err := encoder.Encode(line); err != nil {
				return err
			}
			continue
		}
		where := []string{"table " + cell(f.Table)}
		if f.Stream != "" {
			where = append(where, "stream "+cell(f.Stream))
		}
		if f.Lease != "" {
			where = append(where, "lease "+cell(f.Lease))
		}
		if f.Attribute != "" {
			where = append(where, "attribute "+f.Attribute)
		}
		if _, err := fmt.Fprintf(env.stdout, "%s: %s: %s (%s)\n  %s\n", f.Severity, strings.Join(where, ", "), cell(f.Text), f.Kind, cell(f.Do)); err != nil {
			return err
		}
	}
	return nil
}
