package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/control"
)

func newDestinationsCommand(env environment) *cobra.Command {
	command := &cobra.Command{
		Use:   "destinations",
		Short: "List, pause, resume, replay, hold, release and remove destinations",
		Long: `Lists the destinations, and commands them: by way of the state table that the
configuration names, so that no worker has to be reached. Every worker obeys
within a scan of the lease table (a tenth of leases.failover), and whoever takes
a lease later obeys before anything else. A command stands until another one
takes it back, through restarts.

Each command answers with what every shard made of it. It waits for that for
--wait; what is not acknowledged by then is in force later. Given again with the
same --id a command is not applied again, and answers how far it is.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newDestinationsListCommand(env))
	for _, c := range destinationCommands() {
		command.AddCommand(c.command(env))
	}
	return command
}

// destinationCommand is one of the commands as the command line has it.
type destinationCommand struct {
	verb        checkpoint.Verb
	short, long string
}

func destinationCommands() []destinationCommand {
	return []destinationCommand{
		{checkpoint.PauseVerb, "Stop destinations: they take no record", `Stops destinations on every shard: what is in flight ends, and nothing is
attempted any more. Their places are kept; nobody else waits for them. Pause one
for longer than the stream keeps its records and they are lost to it.`},
		{checkpoint.ResumeVerb, "Let paused destinations go on", `Lets paused destinations go on where they stopped. It also gives up a replay that
has set no position yet; with --force one that has set some: shards that are set
back then begin anew, the others go on where they are.`},
		{checkpoint.ReplayVerb, "Deliver again what came since a time or a position", `Sets destinations back, across reshards: they are paused on every shard, their
position is set in every lease, and they go on; the workers take these steps by
themselves. A destination that is further behind stays where it is: nothing is
skipped. What is delivered again carries a new idempotency key.

--from is trim_horizon, an RFC 3339 time (the first record that arrived then or
later comes first), or, with --lease, SEQUENCE[:SUB] (the record after it comes
first; what came on the shard's descendants follows).`},
		{checkpoint.HoldVerb, "Attempt nothing of destinations, or of single keys", `Holds destinations: nothing of them is attempted, and nothing probes. With --key,
single keys of them: their other keys go on.`},
		{checkpoint.ReleaseVerb, "End holds, of commands and of destinations' own", `Ends holds: those of commands, and those that a destination came to by itself
(on_exhausted: hold_key or hold_destination, or an answer such as 401). What was
held is attempted at once. With --key, single keys.`},
		{checkpoint.RemoveVerb, "Forget destinations that are no longer configured", `Takes destinations off the rosters of all leases: when they have stopped on every
shard, they leave; the workers take these steps by themselves. A destination that
is not configured any more keeps its place, so that nothing is lost when it comes
back; leases on which it is behind are kept for it. This gives its place up:
whatever it has not settled it never gets. Take it out of the configuration of
every worker first. It begins anew if it comes back.`},
	}
}

type destinationOptions struct {
	config           string
	all, force, json bool
	keys             []string
	id, reason       string
	from, lease      string
	wait             time.Duration
}

func (c destinationCommand) command(env environment) *cobra.Command {
	var o destinationOptions
	use := string(c.verb) + " {DESTINATION… | --all}"
	if c.verb == checkpoint.RemoveVerb {
		use = "remove DESTINATION…"
	}
	command := &cobra.Command{Use: use, Short: c.short, Long: c.long,
		RunE: func(command *cobra.Command, names []string) error {
			if o.all == (len(names) > 0) {
				return errors.New("say which destinations: by name, or --all")
			}
			if o.wait < 0 {
				o.wait = -1
			}
			return commandDestinations(command.Context(), env, c.verb, names, o)
		},
	}
	configFlag(command, &o.config)
	flags := command.Flags()
	if c.verb != checkpoint.RemoveVerb {
		flags.BoolVar(&o.all, "all", false, "every destination of the configuration")
	}
	flags.StringVar(&o.id, "id", "", "`ID` of the command: given again with it, it is not applied again (default: a random one)")
	flags.StringVar(&o.reason, "reason", "", "why, for whoever lists the destinations")
	flags.DurationVar(&o.wait, "wait", -1, "how long to wait for every shard; 0: do not (default: three times leases.failover)")
	flags.Lookup("wait").DefValue = "0s" // not printed
	flags.BoolVar(&o.json, "json", false, "print JSON")
	switch c.verb {
	case checkpoint.HoldVerb, checkpoint.ReleaseVerb:
		flags.StringArrayVar(&o.keys, "key", nil, "this `KEY` alone; may be given several times")
	case checkpoint.ResumeVerb:
		flags.BoolVar(&o.force, "force", false, "also in the middle of a replay")
	case checkpoint.ReplayVerb:
		flags.StringVar(&o.from, "from", "", "`TIME|POSITION`: trim_horizon, an RFC 3339 time, or with --lease SEQUENCE[:SUB]")
		flags.StringVar(&o.lease, "lease", "", "the shard of this `LEASE` alone, and its descendants")
		cobra.CheckErr(command.MarkFlagRequired("from"))
	}
	return command
}

func commandDestinations(ctx context.Context, env environment, verb checkpoint.Verb, names []string, o destinationOptions) error {
	if o.from != "" {
		if _, err := control.ParseFrom(o.from); err != nil { // before anything is asked
			return err
		}
	}
	t, err := openLeases(ctx, env, o.config)
	if err != nil {
		return err
	}
	defer t.close()
	c := t.control()
	if o.all {
		names = destinationNames(t.config)
	}
	result, err := c.Give(ctx, control.Request{ID: o.id, Verb: verb, Destinations: names, Keys: o.keys, From: o.from, Lease: o.lease, Force: o.force,
		By: commander(env), Reason: o.reason})
	if err != nil {
		return err
	}
	wait := o.wait
	if wait < 0 {
		wait = 3 * t.config.Leases.Failover
	}
	for _, note := range result.Notes {
		fmt.Fprintln(env.stderr, "note:", cell(note))
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	awaited, err := c.Await(waiting, result)
	if err != nil {
		return fmt.Errorf("%s %s was given (command %s); how far it is cannot be told: %w", verb, strings.Join(names, ", "), result.ID, err)
	}
	if o.json {
		err = printJSON(env.stdout, awaited)
	} else {
		err = printResult(env, awaited)
	}
	if err == nil && awaited.State != control.InForce {
		return errReported
	}
	return err
}

// printResult prints what every shard made of a command.
func printResult(env environment, r control.Result) error {
	counts := map[checkpoint.Obedience]int{}
	text := ""
	for _, s := range r.Shards {
		counts[s.State]++
		switch s.State {
		case checkpoint.Unowned:
			text += fmt.Sprintf("in force: %s: nobody owns it; whoever takes it obeys first\n", cell(s.Lease))
		case checkpoint.Waiting:
			text += fmt.Sprintf("waiting: %s: %s has not acknowledged it\n", cell(s.Lease), cell(s.Owner))
		default:
			text += fmt.Sprintf("in force: %s\n", cell(s.Lease))
		}
	}
	verb := "applied"
	if r.Again {
		verb = "was applied before"
	}
	text += fmt.Sprintf("%s %s: command %s %s: %s", r.Command, cell(strings.Join(r.Destinations, ", ")), cell(r.ID), verb, states[r.State])
	text += fmt.Sprintf("; %d of %s in force\n", len(r.Shards)-counts[checkpoint.Waiting], count(len(r.Shards), "lease"))
	_, err := fmt.Fprint(env.stdout, text)
	return err
}

var states = map[control.State]string{
	control.InForce:  "in force",
	control.Waiting:  "in force on the other shards when their workers have acknowledged it",
	control.Pausing:  "step 1 of 3, pausing; the workers go on with it by themselves",
	control.Setting:  "step 2 of 3, setting positions; the workers go on with it by themselves",
	control.Stopping: "step 1 of 2, stopping; the workers go on with it by themselves",
	control.Removing: "step 2 of 2, leaving the rosters; the workers go on with it by themselves",
}

// control is the way to command an application's destinations.
func (t *leaseTables) control() *control.Control {
	return control.New(control.Config{
		Store: t.store, Format: checkpoint.KeyFormat(t.config.Leases.KeyFormat), SharedWithKCL: t.config.Leases.SharedWithKCL,
		Every: t.config.Leases.Failover / 10, Destinations: func() []string { return destinationNames(t.config) }, Sources: t.controlled,
	})
}

// controlled are the configuration's sources, as replays ask for them.
func (t *leaseTables) controlled(context.Context) ([]control.Source, func(), error) {
	var all []control.Source
	for i := range t.config.Sources {
		s := &t.config.Sources[i]
		stream, err := t.stream(s)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, control.Source{Name: s.Name, Destinations: s.SubscriberNames(t.config), Stream: stream})
	}
	return all, func() {}, nil
}

// commander is who gives a command, for people.
func commander(env environment) string {
	name := env.getenv("USER")
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}
