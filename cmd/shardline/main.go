// Shardline reads Amazon Kinesis shards in several AWS accounts and gives
// every record to any number of destinations, in order per key.
//
// Every subcommand is one file of this package: newRunCommand in run.go, and
// so on. main alone exits; a command answers with an error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	_ "time/tzdata" // a container without zones of its own knows those of plants

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], environment{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
	}))
}

// environment is what a command uses of its process beside its flags.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	hooks          *hooks  // nil but in tests
	dry            *dryRun // nil but in a dry run
}

// errReported ends a command with exit code 1 when it has told the user
// everything already.
var errReported = errors.New("reported")

// run executes one command line and returns the exit code: 0 done, 1 the
// command found or met a problem.
func run(ctx context.Context, args []string, env environment) int {
	root := newRootCommand(env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(env.stderr, "shardline:", err)
	}
	return 1
}

func newRootCommand(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:           "shardline",
		Short:         "Ordered fan-out of Kinesis streams to many destinations",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newRunCommand(env),
		newDemoCommand(env),
		newBenchCommand(env),
		newVersionCommand(env),
		newLocalAWSCommand(env),
		newHealthCommand(env),
		newValidateCommand(env),
		newInspectCommand(env),
		newProduceCommand(env),
		newSendCommand(env),
		newLeasesCommand(env),
		newDeadLettersCommand(env),
		newDestinationsCommand(env),
		newOEECommand(env),
	)
	return root
}
