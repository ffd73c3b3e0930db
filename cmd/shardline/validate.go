package main

import (
	"errors"
	"fmt"

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
	return c, err
}

func newValidateCommand(env environment) *cobra.Command {
	var path string
	command := &cobra.Command{
		Use:   "validate",
		Short: "Check a configuration and print everything that is wrong with it",
		Long: `Check a configuration, and the secrets and environment variables that it
names, without touching the network. Every problem is printed with file, line
and column; the exit code is 1 when there is one.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
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
			_, err = fmt.Fprintf(env.stdout, "%s: ok: %s, %s\n", name,
				count(len(c.Sources), "source"), count(len(c.Destinations), "destination"))
			return err
		},
	}
	configFlag(command, &path)
	return command
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
