package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/cmd/shardline/config"
)

// configFlag adds --config to a command that reads the configuration.
func configFlag(command *cobra.Command, path *string) {
	command.Flags().StringVarP(path, "config", "c", "",
		"configuration `FILE`, or - for standard input; without it the text itself in "+config.Variable)
}

// loadConfig loads the configuration; its problems go to standard error, and
// the command then ends with errReported.
func loadConfig(env environment, path string) (*config.Config, error) {
	c, err := config.Load(path, env.getenv, env.stdin)
	var problems config.Problems
	if errors.As(err, &problems) {
		fmt.Fprintln(env.stderr, problems.Error())
		return nil, errReported
	}
	if err == nil {
		for _, warning := range c.Warnings() {
			fmt.Fprintln(env.stderr, warning.String()+" (a warning)")
		}
	}
	return c, err
}

func newValidateCommand(env environment) *cobra.Command {
	var path string
	var tryIt, asJSON bool
	command := &cobra.Command{
		Use:   "validate",
		Short: "Check a configuration and print everything that is wrong with it",
		Long: `Check a configuration, and the secrets and environment variables that it
names, without touching the network. Every problem is printed with file, line
and column; the exit code is 1 when there is one.

With --aws everything that a worker needs in AWS is tried as well: each role,
stream, table and stream consumer, the destinations' streams, queues, topics and
buckets, and whether files and dead letters can be written.
Nothing is changed: writes have a condition that cannot hold, nothing is created
or registered, and one record at most is read of each stream, from the tip. What
cannot be tried like that is said. A permission that is missing is named as
policies name it, with where it has to be given.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if asJSON && !tryIt {
				return errors.New("--json needs --aws")
			}
			c, err := loadConfig(env, path)
			if err != nil {
				return err
			}
			name := path
			switch path {
			case "":
				name = config.Variable
			case "-":
				name = "<stdin>"
			}
			if !asJSON {
				views := ""
				if len(c.Views) > 0 {
					views = ", " + count(len(c.Views), "view")
				}
				if _, err = fmt.Fprintf(env.stdout, "%s: ok: %s, %s%s\n", name,
					count(len(c.Sources), "source"), count(len(c.Destinations), "destination"), views); err != nil {
					return err
				}
			}
			if !tryIt {
				return nil
			}
			lines, err := tryAWS(command.Context(), c)
			if err != nil {
				return err
			}
			show := printTried
			if asJSON {
				show = printTriedLines
			}
			if err := show(env.stdout, lines); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			if !slices.ContainsFunc(lines, func(l triedLine) bool { return !l.good() }) {
				return nil
			}
			return errReported
		},
	}
	configFlag(command, &path)
	command.Flags().BoolVar(&tryIt, "aws", false, "try the roles, streams and tables too, without changing anything")
	command.Flags().BoolVar(&asJSON, "json", false, "with --aws: print JSON lines")
	return command
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
