package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
)

type leasesImportOptions struct {
	config, from, to, source string
	apply, force, completed  bool
}

func newLeasesImportCommand(env environment) *cobra.Command {
	var o leasesImportOptions
	command := &cobra.Command{
		Use:   "import --from-vmware TABLE",
		Short: "Make leases of the checkpoints of a vmware-go-kcl application",
		Long: `Reads the table of a vmware-go-kcl or vmware-go-kcl-v2 application and makes
leases for Shardline in a table of its own (theirs has another key). Says what
becomes of every row and every shard; writes nothing without --apply. Rows are
never changed; leases that exist already are left as they are, so that it can be
run again.

Stop every worker of the application first: one that holds a shard, by its
time-out and the service's clock, is refused.

Their checkpoint does not tell which user records of an aggregated record are
done, so that all of it comes again; with --completed-records none of it does.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return importLeases(command.Context(), env, o) },
	}
	configFlag(command, &o.config)
	flags := command.Flags()
	flags.StringVar(&o.from, "from-vmware", "", "`TABLE` of the vmware-go-kcl application")
	flags.StringVar(&o.to, "to-table", "", "lease `TABLE` to make (default: that of the configuration)")
	flags.StringVar(&o.source, "source", "", "the source whose stream it is (default: the only one)")
	flags.BoolVar(&o.apply, "apply", false, "write; without it nothing is changed")
	flags.BoolVar(&o.force, "force", false, "although workers of the application seem to live")
	flags.BoolVar(&o.completed, "completed-records", false, "a checkpoint means that all of an aggregated record is done")
	cobra.CheckErr(command.MarkFlagRequired("from-vmware"))
	return command
}

func importLeases(ctx context.Context, env environment, o leasesImportOptions) error {
	t, err := openTables(ctx, env, o.config)
	if err != nil {
		return err
	}
	defer t.close()
	o.to = cmp.Or(o.to, t.config.LeaseTable())
	if o.to == o.from {
		return fmt.Errorf("--to-table: table %s is the one to read, and its key is another one; name a new table", o.to)
	}
	source, err := t.importSource(o.source)
	if err != nil {
		return err
	}
	store := t.open(o.to)
	if err := store.Describe(ctx); err != nil && !(errors.Is(err, checkpoint.ErrNoTable) && t.config.Leases.CreateTables) {
		return err
	}
	if o.to != t.config.LeaseTable() {
		fmt.Fprintf(env.stderr, "shardline: the configuration names table %s, not %s: set leases.table before you start workers\n", t.config.LeaseTable(), o.to)
	}
	rows, now, err := store.ReadVMware(ctx, o.from)
	if err != nil {
		return err
	}
	stream, err := t.stream(source)
	if err != nil {
		return err
	}
	is, err := stream.Stream(ctx)
	if err != nil {
		return err
	}
	shards, at, err := stream.Shards(ctx)
	if err != nil {
		return err
	}
	plan := checkpoint.ImportVMware(checkpoint.VMwareImport{Rows: rows, Shards: shards, Initial: t.initialAt(source, at), Completed: o.completed, Now: now})
	format := checkpoint.KeyFormat(t.config.Leases.KeyFormat)
	id := checkpoint.StreamID(is.Account, is.Name, is.Created)
	for i := range plan {
		if l := plan[i].Create; l != nil {
			l.Key, l.Stream = checkpoint.LeaseKey(format, id, l.Shard), id
		}
	}
	if err := explainImport(env, o, plan); err != nil {
		return err
	}
	return t.createImported(ctx, env, o, plan)
}

// importSource is the source whose stream the table is about.
func (t *leaseTables) importSource(name string) (*config.Source, error) {
	if name != "" {
		return t.source(name)
	}
	if len(t.config.Sources) != 1 {
		return nil, fmt.Errorf("the configuration has %s, and the table is of one stream: say which by --source", count(len(t.config.Sources), "source"))
	}
	return &t.config.Sources[0], nil
}

// initialAt is where the source begins, with latest pinned as a worker does.
func (t *leaseTables) initialAt(s *config.Source, now time.Time) checkpoint.Position {
	switch {
	case s.InitialPosition.Kind == config.PositionAtTimestamp:
		return checkpoint.At(s.InitialPosition.At)
	case s.InitialPosition.Kind != config.PositionLatest:
		return checkpoint.TrimHorizon
	case t.config.Leases.SharedWithKCL:
		return checkpoint.LatestAt(now.Add(-latestMargin))
	}
	return checkpoint.At(now.Add(-latestMargin))
}

// explainImport prints the plan, and refuses one with rows that cannot be read
// or that somebody holds.
func explainImport(env environment, o leasesImportOptions, plan []checkpoint.Imported) error {
	broken, live := 0, 0
	for _, i := range plan {
		line := cell(i.Shard)
		switch {
		case i.Broken:
			broken++
			line += ": cannot be read: " + cell(i.Why)
		case i.Create != nil:
			line += fmt.Sprintf(": lease at %s: %s", i.Create.Checkpoint, i.Why)
		default:
			line += ": " + i.Why
		}
		if i.Live != "" {
			live++
			line += fmt.Sprintf("; held by %s, which seems to live", cell(i.Live))
		}
		fmt.Fprintln(env.stdout, line)
	}
	switch {
	case broken > 0:
		return fmt.Errorf("nothing was written: %s of table %s cannot be read; correct or delete them", count(broken, "row"), o.from)
	case live > 0 && !o.force:
		return fmt.Errorf("nothing was written: workers hold %s of table %s; stop them and wait for their time-out, or give --force: what they go on to deliver comes twice", count(live, "row"), o.from)
	}
	return nil
}

// createImported writes the leases, ancestors first.
func (t *leaseTables) createImported(ctx context.Context, env environment, o leasesImportOptions, plan []checkpoint.Imported) error {
	var leases []checkpoint.Lease
	for _, i := range plan {
		if i.Create != nil {
			leases = append(leases, *i.Create)
		}
	}
	store := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: t.client, Table: o.to, StateTable: t.config.StateTable(),
		Format: checkpoint.KeyFormat(t.config.Leases.KeyFormat), Failover: t.config.Leases.Failover, Create: t.config.Leases.CreateTables})
	if !o.apply {
		fmt.Fprintf(env.stdout, "table %s: %s to create; nothing was written: --apply does it\n", o.to, count(len(leases), "lease"))
		return nil
	}
	if err := store.Prepare(ctx); err != nil {
		return err
	}
	created, refused := 0, 0
	for _, l := range leases {
		now, err := store.CreateSettled(ctx, l)
		switch {
		case errors.Is(err, checkpoint.ErrExists):
			refused++
			fmt.Fprintf(env.stdout, "refused: %s: there is such a lease already, at %s: it is left as it is\n", cell(l.Key), now.Checkpoint)
		case err != nil:
			return fmt.Errorf("%d of %d leases were made; run it again: %w", created, len(leases), err)
		default:
			created++
		}
	}
	fmt.Fprintf(env.stdout, "table %s: %s made, or there already, %d refused\n", o.to, count(created, "lease"), refused)
	if refused > 0 {
		return errReported
	}
	return nil
}
