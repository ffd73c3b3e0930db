package main

import "github.com/spf13/cobra"

func newOEECommand(env environment) *cobra.Command {
	command := &cobra.Command{
		Use:   "oee",
		Short: "Overall equipment effectiveness: compute views offline",
	}
	command.AddCommand(newOEEReplayCommand(env), newOEEReportCommand(env))
	return command
}
