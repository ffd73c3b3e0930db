package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
)

type leasesSetOptions struct {
	config, to, subscriber string
	which                  selection
	force, dryRun          bool
}

func newLeasesSetCommand(env environment) *cobra.Command {
	var o leasesSetOptions
	command := &cobra.Command{
		Use:   "set {LEASE… | --source NAME | --all} --to POSITION",
		Short: "Set where leases stand: replay, or skip",
		Long: `Sets where leases stand. POSITION is trim_horizon, latest (now, by the stream's
clock), an RFC 3339 time (the first record that arrived then or later comes
next), or SEQUENCE[:SUB] (the record after it comes next).

Everybody on the roster is moved; with --subscriber one destination alone, up to
the checkpoint at most. Records that are skipped are delivered to nobody, those
that are set back over come again.

Stop the workers first: a lease that is renewed while the table is watched, for
leases.failover, is refused. With --force its owner loses it. --force also does
what breaks the order of records, such as setting back a shard whose children
have been read.`,
		RunE: func(command *cobra.Command, leases []string) error {
			o.which.leases = leases
			if err := o.which.check(); err != nil {
				return err
			}
			if err := checkTo(o.to); err != nil {
				return err
			}
			return setLeases(command.Context(), env, o)
		},
	}
	configFlag(command, &o.config)
	flags := command.Flags()
	o.which.flags(command)
	flags.StringVar(&o.to, "to", "", "`POSITION`: trim_horizon, latest, an RFC 3339 time, or SEQUENCE[:SUB]")
	flags.StringVar(&o.subscriber, "subscriber", "", "move this destination alone")
	flags.BoolVar(&o.force, "force", false, "also from an owner that renews, out of order, and over what cannot be read")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and do nothing")
	cobra.CheckErr(command.MarkFlagRequired("to"))
	return command
}

func setLeases(ctx context.Context, env environment, o leasesSetOptions) error {
	t, err := openLeases(ctx, env, o.config)
	if err != nil {
		return err
	}
	defer t.close()
	before, err := t.store.Watch(ctx, 0, 0)
	if err != nil {
		return err
	}
	rows, err := t.choose(before.Last.Rows(), o.which)
	if err != nil {
		return err
	}
	if o.subscriber != "" && t.config.Leases.SharedWithKCL {
		return errors.New("--subscriber: the table is shared with KCL workers (leases.shared_with_kcl), which serve nobody who is behind; move everybody")
	}
	to, err := t.positions(ctx, o.to, rows)
	if err != nil {
		return err
	}
	w, err := t.quiet(ctx, env, o.force)
	if err != nil {
		return err
	}
	all := w.Last.Rows()
	if rows, err = t.choose(all, o.which); err != nil {
		return err
	}
	c := changes{env: env, dryRun: o.dryRun}
	for _, row := range rows {
		source := t.sourceOf(row.Lease)
		if source == nil {
			c.refuse(row.Key, "no source of the configuration has its stream")
			continue
		}
		at, known := to[source.Name]
		if !known { // made since
			c.refuse(row.Key, "it was not there when the command began")
			continue
		}
		m, err := checkpoint.Set(row, all, at, o.subscriber)
		lives := t.alive(row, w)
		switch {
		case err != nil:
			c.refuse(row.Key, strings.TrimPrefix(err.Error(), "lease "+row.Key+": "))
			continue
		case len(m.Unsafe) > 0 && !o.force:
			c.refuse(row.Key, strings.Join(m.Unsafe, "; ")+" (--force does it)")
			continue
		case lives != "" && !o.force:
			c.refuse(row.Key, lives+"; stop it, or give --force: it then loses the lease")
			continue
		}
		for _, warning := range append(m.Unsafe, m.Warnings...) {
			fmt.Fprintf(env.stdout, "warning: %s: %s\n", cell(row.Key), cell(warning))
		}
		who := "everybody"
		if o.subscriber != "" {
			who = o.subscriber
		}
		c.change(row.Key, fmt.Sprintf("%s set from %s to %s", who, standing(row), at), func() error {
			return t.evict(ctx, row, o.force, func(now checkpoint.Row) (*checkpoint.Saved, error) {
				m, err := checkpoint.Set(now, all, at, o.subscriber)
				return &m.Save, err
			})
		})
	}
	return c.end()
}

// standing is where a lease stands, as far as it can be read.
func standing(row checkpoint.Row) string {
	if unreadable(row) {
		return "what cannot be read"
	}
	return row.Checkpoint.String()
}

// checkTo says what is wrong with the text of --to, before anything is asked.
func checkTo(to string) error {
	if to == config.PositionTrimHorizon || to == config.PositionLatest {
		return nil
	}
	if _, err := time.Parse(time.RFC3339Nano, to); err == nil {
		return nil
	}
	if at, err := checkpoint.ParsePosition(to); err != nil || !at.IsNumber() || at.Sub < 0 {
		return fmt.Errorf("--to %s: it is none of trim_horizon, latest, an RFC 3339 time such as 2026-03-01T06:00:00Z, SEQUENCE or SEQUENCE:SUB", to)
	}
	return nil
}

// positions is what --to means for each source of the leases.
func (t *leaseTables) positions(ctx context.Context, to string, rows []checkpoint.Row) (map[string]checkpoint.Position, error) {
	positions := map[string]checkpoint.Position{}
	for _, row := range rows {
		source := t.sourceOf(row.Lease)
		if source == nil {
			continue
		}
		if _, known := positions[source.Name]; known {
			continue
		}
		at, err := t.position(ctx, to, source, rows)
		if err != nil {
			return nil, fmt.Errorf("--to %s: %w", to, err)
		}
		positions[source.Name] = at
	}
	return positions, nil
}

// earliestTime is before any stream.
var earliestTime = time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC)

// latestMargin is as a worker pins latest: the service's date is in whole
// seconds, and its hosts' clocks differ.
const latestMargin = 5 * time.Second

// position is what --to means for a source. Times are the stream's, not this
// host's.
func (t *leaseTables) position(ctx context.Context, to string, source *config.Source, rows []checkpoint.Row) (checkpoint.Position, error) {
	instant, timeErr := time.Parse(time.RFC3339Nano, to)
	switch {
	case to == config.PositionTrimHorizon:
		return checkpoint.TrimHorizon, nil
	case to != config.PositionLatest && timeErr != nil:
		return t.number(ctx, to, source, rows)
	case timeErr == nil && instant.Before(earliestTime):
		return checkpoint.Position{}, errors.New("no stream is as old as that")
	}
	stream, err := t.stream(source)
	if err != nil {
		return checkpoint.Position{}, err
	}
	_, now, err := stream.Shards(ctx)
	if err != nil {
		return checkpoint.Position{}, fmt.Errorf("ask the stream for the time: %w", err)
	}
	if to == config.PositionLatest {
		if t.config.Leases.SharedWithKCL {
			return checkpoint.LatestAt(now.Add(-latestMargin)), nil
		}
		return checkpoint.At(now.Add(-latestMargin)), nil
	}
	if instant.After(now) {
		return checkpoint.Position{}, fmt.Errorf("it is %s there: a position cannot be in the future", now.UTC().Format(time.RFC3339))
	}
	if t.config.Leases.SharedWithKCL {
		return checkpoint.Position{}, errors.New("the table is shared with KCL workers (leases.shared_with_kcl), which know no times; give trim_horizon, latest or a sequence number")
	}
	return checkpoint.At(instant), nil
}

// number is a sequence number that the one lease's shard knows.
func (t *leaseTables) number(ctx context.Context, to string, source *config.Source, rows []checkpoint.Row) (checkpoint.Position, error) {
	at, err := checkpoint.ParsePosition(to)
	if err != nil {
		return checkpoint.Position{}, err
	}
	if len(rows) != 1 {
		return checkpoint.Position{}, fmt.Errorf("a sequence number is of one shard, and these are %s", count(len(rows), "lease"))
	}
	stream, err := t.stream(source)
	if err != nil {
		return checkpoint.Position{}, err
	}
	if _, err := stream.Lag(ctx, rows[0].Shard, at); err != nil {
		return checkpoint.Position{}, fmt.Errorf("the shard does not know it: %w", err)
	}
	return at, nil
}
