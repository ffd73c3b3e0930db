package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/checkpoint"
)

type leasesReleaseOptions struct {
	config                       string
	which                        selection
	force, dryRun, toKCL, lowest bool
}

func newLeasesReleaseCommand(env environment) *cobra.Command {
	var o leasesReleaseOptions
	command := &cobra.Command{
		Use:   "release {LEASE… | --source NAME | --all}",
		Short: "Take leases away from owners that are dead, or give the table back to KCL",
		Long: `Takes leases away from owners that do not renew them, so that any worker may
take them at once. The table is watched for leases.failover first; a lease that
is renewed meanwhile is refused. With --force it is taken away from a live owner,
too: what that one delivers until its next renewal comes again from the next.

--to-kcl gives the whole table back to workers of the Kinesis Client Library:
nobody may renew a lease, and everything that is Shardline's is removed from the
items. Leases on which somebody is behind are refused and listed, and so are
those at an instant, which KCL cannot be told; with --lowest their checkpoint
becomes the lowest position of everybody, which skips nothing, and repeats.

Exits 1 when a lease was refused.`,
		RunE: func(command *cobra.Command, leases []string) error {
			o.which.leases = leases
			if o.toKCL {
				return handBack(command.Context(), env, o)
			}
			if o.lowest {
				return errors.New("--lowest goes with --to-kcl")
			}
			if err := o.which.check(); err != nil {
				return err
			}
			return releaseLeases(command.Context(), env, o)
		},
	}
	configFlag(command, &o.config)
	flags := command.Flags()
	o.which.flags(command)
	flags.BoolVar(&o.force, "force", false, "also from an owner that renews")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and do nothing")
	flags.BoolVar(&o.toKCL, "to-kcl", false, "give the table back to KCL workers")
	flags.BoolVar(&o.lowest, "lowest", false, "with --to-kcl: set checkpoints to where the last of those behind stands")
	return command
}

// changes prints what becomes of each lease and counts what was refused.
type changes struct {
	env     environment
	dryRun  bool
	done    int
	refused int
}

// change says that a lease is changed, and changes it.
func (c *changes) change(lease, what string, write func() error) {
	if c.dryRun {
		fmt.Fprintf(c.env.stdout, "would: %s: %s\n", cell(lease), what)
		c.done++
		return
	}
	err := write()
	switch {
	case errors.Is(err, checkpoint.ErrConflict):
		c.refuse(lease, "not changed: somebody wrote it meanwhile; look at it and try again")
	case err != nil:
		c.refuse(lease, "failed: "+err.Error())
	default:
		fmt.Fprintf(c.env.stdout, "done: %s: %s\n", cell(lease), what)
		c.done++
	}
}

func (c *changes) refuse(lease, why string) {
	fmt.Fprintf(c.env.stdout, "refused: %s: %s\n", cell(lease), cell(why))
	c.refused++
}

func (c *changes) leave(lease, why string) {
	fmt.Fprintf(c.env.stdout, "as it is: %s: %s\n", cell(lease), why)
}

// end is the last line, and the command's error.
func (c *changes) end() error {
	verb := "changed"
	if c.dryRun {
		verb = "would be changed"
	}
	fmt.Fprintf(c.env.stdout, "%s %s, %d refused\n", count(c.done, "lease"), verb, c.refused)
	if c.refused > 0 {
		return errReported
	}
	return nil
}

// quiet watches the tables for the fail-over time, so that whoever has not
// renewed then may be taken for dead. With force one reading is enough.
func (t *leaseTables) quiet(ctx context.Context, env environment, force bool) (checkpoint.Watched, error) {
	failover := t.config.Leases.Failover
	if force {
		return t.store.Watch(ctx, 0, 0)
	}
	watch := failover + watchMargin(failover)
	fmt.Fprintf(env.stderr, "watching table %s for %s: whoever renews lives\n", t.config.LeaseTable(), watch.Round(100*time.Millisecond))
	return t.store.Watch(ctx, watch, watchEvery(failover))
}

// alive says that the owner of a lease was seen to renew it, or that the watch
// was too short to tell; empty: nobody owns it, or whoever does is dead.
func (t *leaseTables) alive(row checkpoint.Row, w checkpoint.Watched) string {
	holder, _ := row.Holder()
	age := w.Ages[row.Key]
	switch {
	case holder == "":
		return ""
	case age.Renewed:
		return fmt.Sprintf("%s lives: it renewed less than %s ago", cell(holder), age.Ago.Round(100*time.Millisecond))
	case age.Ago <= t.config.Leases.Failover:
		return fmt.Sprintf("%s was seen for %s only, which is not longer than the fail-over time", cell(holder), age.Ago.Round(100*time.Millisecond))
	}
	return ""
}

func releaseLeases(ctx context.Context, env environment, o leasesReleaseOptions) error {
	t, err := openLeases(ctx, env, o.config)
	if err != nil {
		return err
	}
	defer t.close()
	before, err := t.store.Watch(ctx, 0, 0)
	if err != nil {
		return err
	}
	if _, err := t.choose(before.Last.Rows(), o.which); err != nil { // before the watch
		return err
	}
	w, err := t.quiet(ctx, env, o.force)
	if err != nil {
		return err
	}
	rows, err := t.choose(w.Last.Rows(), o.which)
	if err != nil {
		return err
	}
	c := changes{env: env, dryRun: o.dryRun}
	for _, row := range rows {
		holder, _ := row.Holder()
		lives := t.alive(row, w)
		switch {
		case len(row.Damage) > 0:
			c.refuse(row.Key, "it cannot be read: "+row.Damage[0].Attribute+": "+row.Damage[0].Text)
		case holder == "" && row.Tenure == "":
			c.leave(row.Key, "nobody owns it")
		case lives != "" && !o.force:
			c.refuse(row.Key, lives+"; stop it, or give --force: what it delivers until its next renewal then comes twice")
		default:
			what := fmt.Sprintf("taken away from %s, at %s", cell(holder), row.Checkpoint)
			if o.force {
				what += "; if it lives, what it delivers until its next renewal comes twice"
			}
			c.change(row.Key, what, func() error { return t.evict(ctx, row, o.force, unchanged) })
		}
	}
	return c.end()
}

// evict takes a lease away, with positions that are worked out from how it is.
// With force also when its owner has renewed it since it was read, as long as it
// is the same tenure.
func (t *leaseTables) evict(ctx context.Context, seen checkpoint.Row, force bool, positions func(checkpoint.Row) (*checkpoint.Saved, error)) error {
	for attempt := 0; ; attempt++ {
		save, err := positions(seen)
		if err != nil {
			return err
		}
		err = t.store.Evict(ctx, seen.Lease, save)
		if !force || attempt == 3 || !errors.Is(err, checkpoint.ErrConflict) {
			return err
		}
		now, readErr := t.store.Get(ctx, seen.Key)
		if readErr != nil || now.Owner != seen.Owner || now.Tenure != seen.Tenure {
			return err
		}
		seen = checkpoint.Row{Lease: now}
	}
}

// unchanged leaves the positions as they are.
func unchanged(checkpoint.Row) (*checkpoint.Saved, error) { return nil, nil }

// handBack gives the table back to KCL workers.
func handBack(ctx context.Context, env environment, o leasesReleaseOptions) error {
	if len(o.which.leases) > 0 || o.which.source != "" || o.force {
		return errors.New("--to-kcl is for the whole table, and not forced: stop every Shardline worker first")
	}
	t, err := openLeases(ctx, env, o.config)
	if err != nil {
		return err
	}
	defer t.close()
	w, err := t.quiet(ctx, env, false)
	if err != nil {
		return err
	}
	if err := t.ready(w); err != nil {
		return err
	}
	c := changes{env: env, dryRun: o.dryRun}
	for _, h := range checkpoint.ToKCL(w.Last.Rows(), o.lowest) {
		switch {
		case h.Refused != "":
			c.refuse(h.Key, h.Refused)
		case t.alive(h.Row, w) != "":
			c.leave(h.Key, "a KCL worker has it: "+t.alive(h.Row, w))
		case h.Save == nil:
			c.leave(h.Key, "nothing of it is Shardline's")
		default:
			what := "given back at " + h.Save.Checkpoint.String()
			if h.Note != "" {
				what += ", " + h.Note
			}
			c.change(h.Key, what, func() error { return t.store.HandBack(ctx, h.Lease, *h.Save) })
		}
	}
	if c.refused > 0 {
		fmt.Fprintln(env.stderr, "shardline: do not start KCL workers yet: run Shardline until nobody is behind and every shard was read, or give --lowest, which repeats")
	} else if !o.dryRun {
		fmt.Fprintf(env.stdout, "table %s is for KCL workers of this application now; %s is theirs to ignore\n", t.config.LeaseTable(), t.config.StateTable())
	}
	return c.end()
}

// ready says why the table as a whole cannot be given back: Shardline workers
// that live, or items at which a scan of KCL workers fails.
func (t *leaseTables) ready(w checkpoint.Watched) error {
	var live []string
	for _, row := range w.Last.Rows() {
		if holder, shardline := row.Holder(); shardline && t.alive(row, w) != "" {
			live = append(live, holder)
		}
	}
	if slices.Sort(live); len(live) > 0 {
		return fmt.Errorf("nothing was changed: Shardline workers renew leases of table %s; stop them first: %s",
			t.config.LeaseTable(), strings.Join(slices.Compact(live), ", "))
	}
	for _, f := range checkpoint.Check(w.Last) {
		if slices.Contains([]string{"foreign_item", "missing_attribute", "hash_range", "lease_key"}, f.Kind) && f.Severity == checkpoint.Error {
			return fmt.Errorf("nothing was changed: table %s, lease %s: %s; %s", f.Table, f.Lease, strings.TrimPrefix(f.Attribute+": "+f.Text, ": "), f.Do)
		}
	}
	return nil
}
