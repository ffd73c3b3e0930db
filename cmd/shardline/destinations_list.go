package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/internal/control"
)

func newDestinationsListCommand(env environment) *cobra.Command {
	var file string
	var asJSON, lag bool
	command := &cobra.Command{
		Use:   "list [DESTINATION]",
		Short: "Print what is ordered of the destinations, and who is behind",
		Long: `Prints every destination that is configured, that a lease still knows, or of
which something is ordered: what it does, since when and why, on how many leases
it is behind, and which owners have not acknowledged the last command yet. Of one
destination: where it stands on each lease, too.

What a worker knows alone (a destination held by an answer, attempts in flight) is
in the API and on /readyz of that worker.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			return listDestinations(command.Context(), env, file, names, asJSON, lag)
		},
	}
	configFlag(command, &file)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON; the fields are described in docs/api.md")
	command.Flags().BoolVar(&lag, "lag", false, "of one destination: read how old its first unsettled records are, and when the streams forget them")
	return command
}

func listDestinations(ctx context.Context, env environment, file string, names []string, asJSON, lag bool) error {
	if lag && len(names) == 0 {
		return errors.New("--lag is of one destination: name it")
	}
	t, err := openLeases(ctx, env, file)
	if err != nil {
		return err
	}
	defer t.close()
	c := t.control()
	if len(names) == 1 {
		one, err := c.One(ctx, names[0])
		if err != nil {
			return err
		}
		if lag {
			if err := c.Lag(ctx, &one); err != nil {
				return err
			}
		}
		if asJSON {
			return printJSON(env.stdout, one)
		}
		if err := printDestinations(env.stdout, []control.Destination{one}); err != nil {
			return err
		}
		return printPlaces(env.stdout, one)
	}
	all, err := c.List(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(env.stdout, all)
	}
	return printDestinations(env.stdout, all.Destinations)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printDestinations(w io.Writer, all []control.Destination) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DESTINATION\tSTATE\tSINCE\tBEHIND\tPARKED\tHELD KEYS\tWAITING\tWHY")
	for _, d := range all {
		state, since := string(d.State), "-"
		if !d.Configured {
			state += " (not configured)"
		}
		if !d.Since.IsZero() {
			since = d.Since.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d of %d\t%d\t%d\t%d\t%s\n", cell(d.Name), state, since, d.Behind, d.Shards, d.ParkedKeys, len(d.HeldKeys), len(d.Waiting), cell(why(d)))
	}
	return table.Flush()
}

// why says who ordered what a destination does, and where a replay began.
func why(d control.Destination) string {
	var words []string
	if d.From != "" {
		words = append(words, "from "+d.From)
	}
	if d.By != "" {
		words = append(words, "by "+d.By)
	}
	if d.Reason != "" {
		words = append(words, d.Reason)
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ": ")
}

func printPlaces(w io.Writer, d control.Destination) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nLEASE\tOWNER\tCHECKPOINT\tAT\tPARKED\tACKNOWLEDGED\tLAG\tUNTIL TRIM")
	for _, p := range d.Places {
		owner := p.Owner
		if owner == "" {
			owner = "-"
		}
		lag := duration(p.LagSeconds)
		if p.LagError != "" {
			lag = p.LagError
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", cell(p.Lease), cell(owner), p.Checkpoint, p.At, p.ParkedKeys, p.Acknowledged, cell(lag), duration(p.SecondsUntilTrim))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(d.HeldKeys) == 0 {
		return nil
	}
	fmt.Fprintln(table, "\nHELD KEY\tSINCE\tBY\tWHY")
	for _, k := range d.HeldKeys {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", cell(k.Key), k.Since.UTC().Format(time.RFC3339), cell(k.By), cell(k.Reason))
	}
	return table.Flush()
}

// duration is a number of seconds for people.
func duration(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return time.Duration(*seconds * float64(time.Second)).Round(time.Second).String()
}
