package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/spf13/cobra"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
)

func newLeasesCommand(env environment) *cobra.Command {
	command := &cobra.Command{
		Use:   "leases",
		Short: "Look at the lease table, examine it, and move leases by hand",
		Long: `Looks at and changes the lease table that the configuration names, beside
running workers: reads are consistent and disturb nobody, and every write is
conditional on the lease still being as it was read.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newLeasesListCommand(env), newLeasesCheckCommand(env),
		newLeasesReleaseCommand(env), newLeasesSetCommand(env), newLeasesImportCommand(env))
	return command
}

// leaseTables are an application's tables as the configuration names them, and
// the way to its streams.
type leaseTables struct {
	config *config.Config
	base   aws.Config
	client *dynamodb.Client
	store  *checkpoint.DynamoDB
	// refresh starts to keep credentials fresh, until close.
	refresh func(run func(context.Context) error)
	close   func()
}

// openLeases loads the configuration and looks at the shape of the lease table.
// Without an error the tables have to be closed.
func openLeases(ctx context.Context, env environment, path string) (*leaseTables, error) {
	t, err := openTables(ctx, env, path)
	if err != nil {
		return nil, err
	}
	if err := t.store.Describe(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// openTables loads the configuration; but for Shardline's own credentials
// nothing is called yet. Without an error the tables have to be closed.
func openTables(ctx context.Context, env environment, path string) (*leaseTables, error) {
	cfg, err := loadConfig(env, path)
	if err != nil {
		return nil, err
	}
	if cfg.Leases.Store != config.StoreDynamoDB {
		return nil, fmt.Errorf("leases.store is %s: there is no lease table outside the worker's own process", cfg.Leases.Store)
	}
	base, credentials, err := consumers.NewBase(ctx, consumers.BaseConfig{
		Region: cfg.Region, Profile: cfg.AWS.Profile, Role: role(cfg.AWS.Role), Application: cfg.Application,
	})
	if err != nil {
		return nil, err
	}
	t := &leaseTables{config: cfg, base: base, client: dynamodb.NewFromConfig(base)}
	t.refresh, t.close = refreshing(ctx)
	t.refresh(credentials.Run)
	t.store = t.open(cfg.LeaseTable())
	return t, nil
}

// open is the store of a lease table of this application.
func (t *leaseTables) open(table string) *checkpoint.DynamoDB {
	return checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: t.client, Table: table, StateTable: t.config.StateTable(),
		Format: checkpoint.KeyFormat(t.config.Leases.KeyFormat)})
}

// streamName is account:stream, as a source's leases have it in their keys.
func streamName(s *config.Source) string { return s.Stream.Account + ":" + s.Stream.Name }

// sourceOf is the source whose stream a lease belongs to, of whichever epoch;
// nil: none of the configuration.
func (t *leaseTables) sourceOf(l checkpoint.Lease) *config.Source {
	for i := range t.config.Sources {
		s := &t.config.Sources[i]
		if t.config.Leases.KeyFormat == config.SingleStream || strings.HasPrefix(l.Stream, streamName(s)+":") {
			return s
		}
	}
	return nil
}

// source is the source of that name.
func (t *leaseTables) source(name string) (*config.Source, error) {
	names := make([]string, 0, len(t.config.Sources))
	for i := range t.config.Sources {
		if t.config.Sources[i].Name == name {
			return &t.config.Sources[i], nil
		}
		names = append(names, t.config.Sources[i].Name)
	}
	return nil, fmt.Errorf("no source %q in the configuration; it has %s", name, strings.Join(names, ", "))
}

// stream is the way to a source's stream, with the source's role, until close.
func (t *leaseTables) stream(s *config.Source) (*consumers.Source, error) {
	source, err := consumers.NewSource(consumers.Config{Name: s.Name, StreamARN: s.Stream.String(), Role: role(s.Role),
		Application: t.config.Application, PollInterval: s.PollInterval, Base: t.base})
	if err == nil {
		t.refresh(source.Run)
	}
	return source, err
}

// watchMargin is what a watch adds to the time between two renewals, for one
// that is a little late.
func watchMargin(failover time.Duration) time.Duration {
	return max(failover/20, 200*time.Millisecond)
}

// watchEvery is how often a watch looks, so that ages are known to a fraction of the
// time between two renewals.
func watchEvery(failover time.Duration) time.Duration { return max(failover/12, 200*time.Millisecond) }

// watchFlag adds --watch. Its default depends on the fail-over time, so that an
// unset flag is -1.
func watchFlag(command *cobra.Command, watch *time.Duration, usage string) {
	command.Flags().DurationVar(watch, "watch", -1, usage)
	command.Flags().Lookup("watch").DefValue = "0s" // not printed
	command.PreRunE = func(command *cobra.Command, _ []string) error {
		if *watch < 0 && command.Flags().Changed("watch") {
			return fmt.Errorf("--watch %s is negative; allowed: 0 and more", *watch)
		}
		return nil
	}
}

// selection says which leases a command is about.
type selection struct {
	all    bool
	source string
	leases []string // keys, or shard ids that only one stream has
}

// flags adds those that choose leases.
func (s *selection) flags(command *cobra.Command) {
	command.Flags().BoolVar(&s.all, "all", false, "every lease of the table")
	command.Flags().StringVar(&s.source, "source", "", "the leases of this source")
}

// check says that it is not clear which leases are meant.
func (s selection) check() error {
	named := 0
	for _, given := range []bool{s.all, s.source != "", len(s.leases) > 0} {
		if given {
			named++
		}
	}
	if named != 1 {
		return errors.New("say which leases: LEASE…, --source NAME, or --all, and one of them")
	}
	return nil
}

// choose picks the rows of a selection, and says which of it there are not.
func (t *leaseTables) choose(rows []checkpoint.Row, s selection) ([]checkpoint.Row, error) {
	if s.source != "" {
		if _, err := t.source(s.source); err != nil {
			return nil, err
		}
	}
	var chosen []checkpoint.Row
	if s.all || s.source != "" {
		for _, row := range rows {
			if source := t.sourceOf(row.Lease); s.all || source != nil && source.Name == s.source {
				chosen = append(chosen, row)
			}
		}
		return chosen, nil
	}
	for _, name := range s.leases {
		matches := slices.DeleteFunc(slices.Clone(rows), func(row checkpoint.Row) bool { return row.Key != name && row.Shard != name })
		switch {
		case len(matches) == 0:
			return nil, fmt.Errorf("table %s has no lease %s", t.config.LeaseTable(), name)
		case len(matches) > 1:
			keys := make([]string, len(matches))
			for i, m := range matches {
				keys[i] = m.Key
			}
			return nil, fmt.Errorf("%s is a shard of several streams; say which: %s", name, strings.Join(keys, ", "))
		case !slices.ContainsFunc(chosen, func(row checkpoint.Row) bool { return row.Key == matches[0].Key }):
			chosen = append(chosen, matches[0])
		}
	}
	return chosen, nil
}
