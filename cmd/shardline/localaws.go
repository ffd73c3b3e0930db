package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/internal/localaws"
)

// localAWSOptions are the flags of localaws.
type localAWSOptions struct {
	listen                   string
	accounts, streams, roles []string
}

// newLocalAWSCommand serves a local AWS until it is told to stop.
func newLocalAWSCommand(env environment) *cobra.Command {
	var options localAWSOptions
	command := &cobra.Command{
		Use:   "localaws",
		Short: "Serve a local Kinesis, DynamoDB, SQS, S3, Secrets Manager and STS, for trials and tests only",
		Long: `Serves Kinesis, DynamoDB, SQS, S3, Secrets Manager and STS in memory on one loopback port, until SIGINT or
SIGTERM, and prints the environment with which any AWS SDK uses it. For trials
and tests only: everything is lost when it ends, and whoever reaches the port
can administer it (/_localaws/).

Accounts that a stream or role names are made too; without any, there is
account 111111111111. Every account may assume every role made here.`,
		Example: `  shardline localaws --listen 127.0.0.1:4566 --stream 111111111111:eu-west-1:hotels:4 \
    --account 222222222222 --role 111111111111:shardline-reader`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return runLocalAWS(ctx, options, env.stdout)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.listen, "listen", "127.0.0.1:0", "loopback address and port; port 0 is one that the kernel chooses")
	flags.StringArrayVar(&options.accounts, "account", nil, "account to make: 12 digits (may be repeated)")
	flags.StringArrayVar(&options.streams, "stream", nil, "stream to make: ACCOUNT:REGION:NAME:SHARDS (may be repeated)")
	flags.StringArrayVar(&options.roles, "role", nil, "role to make: ACCOUNT:NAME (may be repeated)")
	return command
}

// runLocalAWS makes what the options name, says how to reach it, and serves
// until ctx is done.
func runLocalAWS(ctx context.Context, options localAWSOptions, out io.Writer) error {
	streams, err := splitAll("--stream", "ACCOUNT:REGION:NAME:SHARDS", options.streams)
	if err != nil {
		return err
	}
	roles, err := splitAll("--role", "ACCOUNT:NAME", options.roles)
	if err != nil {
		return err
	}
	server := localaws.New(localaws.Config{})
	ids := append([]string(nil), options.accounts...)
	for _, parts := range append(streams, roles...) {
		ids = append(ids, parts[0])
	}
	if len(ids) == 0 {
		ids = []string{"111111111111"}
	}
	// The text is written whole before it is printed: a reader of the output
	// finds all of it or nothing. Listen is last: nothing is left open by an
	// error.
	var made strings.Builder
	accounts := map[string]localaws.Credentials{}
	for _, id := range ids {
		if accounts[id], err = server.AddAccount(id); err != nil {
			return err
		}
	}
	for _, parts := range streams {
		shards, err := strconv.Atoi(parts[3])
		if err != nil {
			return fmt.Errorf("--stream %s: %q is no number of shards", strings.Join(parts, ":"), parts[3])
		}
		arn, err := server.CreateStream(parts[0], parts[1], parts[2], shards)
		if err != nil {
			return err
		}
		fmt.Fprintf(&made, "\n# stream %s, %d shards\n", arn, shards)
	}
	for _, parts := range roles {
		arn, err := server.AddRole(localaws.Role{Account: parts[0], Name: parts[1], Trust: localaws.Trust{Principals: ids}})
		if err != nil {
			return err
		}
		fmt.Fprintf(&made, "\n# role %s, for every account here\n", arn)
	}
	if err := server.Listen(options.listen); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# Local AWS for trials and tests only, on %s: nothing is kept, nothing is protected.\n", server.Endpoint())
	for _, id := range slices.Sorted(maps.Keys(accounts)) {
		fmt.Fprintf(&text, "\n# account %s\n", id)
		for _, line := range server.Environment(accounts[id]) {
			fmt.Fprintln(&text, "export "+line)
		}
	}
	text.WriteString(made.String())
	if _, err := io.WriteString(out, text.String()); err != nil {
		return err
	}
	return server.Serve(ctx)
}

// splitAll splits flags of the form A:B:…; each has as many parts as form.
func splitAll(flag, form string, values []string) ([][]string, error) {
	var out [][]string
	for _, value := range values {
		parts := strings.Split(value, ":")
		if len(parts) != strings.Count(form, ":")+1 {
			return nil, fmt.Errorf("%s %s: it has the form %s", flag, value, form)
		}
		out = append(out, parts)
	}
	return out, nil
}
