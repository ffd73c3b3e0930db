package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/report"
)

type oeeReportOptions struct {
	config, view, day, shift, format, output string
	machines, inputs                         []string
}

func newOEEReportCommand(env environment) *cobra.Command {
	var o oeeReportOptions
	command := &cobra.Command{
		Use:   "report --config FILE --view NAME --day 2026-11-22 --input FILE…",
		Short: "Show a day of a view: text, CSV, JSON, or one HTML file",
		Long: `Show one business date of a view, or one shift of it, computed offline from files
of records as "shardline oee replay" reads them. The files have to hold what came
before the day too, as far as it matters: the state that machines were in, and the
last readings of cumulative counters.

--format text is for a terminal; csv has every sum and ratio, a result a line; json
the time lines of the machines as well; html is one file that needs nothing else, to
be looked at, printed or sent. docs/oee-report.md describes them.

A record that cannot be decoded is named, with file and line, and left out; the
exit code is then 1.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(command *cobra.Command, files []string) error {
			o.inputs = append(o.inputs, files...)
			return reportOEE(command.Context(), env, o)
		},
	}
	configFlag(command, &o.config)
	command.Flags().StringVar(&o.view, "view", "", "the `NAME` of the view")
	command.Flags().StringVar(&o.day, "day", "", "the business `DATE`, as 2026-11-22")
	command.Flags().StringVar(&o.shift, "shift", "", "only the shift of this `NAME`")
	command.Flags().StringArrayVar(&o.machines, "machine", nil, "only the machine of this `NAME`; may be given again")
	command.Flags().StringVar(&o.format, "format", "text", "text, csv, json or html")
	command.Flags().StringArrayVar(&o.inputs, "input", nil, "a `FILE` of records, - for standard input, or SOURCE=FILE; further ones may follow")
	command.Flags().StringVar(&o.output, "output", "", "write to this `FILE`, which is replaced; empty: standard output")
	return command
}

// reportForms are the forms of a report.
var reportForms = map[string]func(*report.Report, io.Writer) error{
	"text": (*report.Report).Text, "csv": (*report.Report).CSV, "json": (*report.Report).JSON, "html": (*report.Report).HTML,
}

func reportOEE(ctx context.Context, env environment, o oeeReportOptions) error {
	write := reportForms[o.format]
	switch {
	case o.view == "":
		return errors.New("--view is required: which of the configuration's views")
	case o.day == "":
		return errors.New("--day is required: a business date, as 2026-11-22")
	case len(o.inputs) == 0:
		return errors.New("--input is required: files of records, or - for standard input")
	case write == nil:
		return fmt.Errorf("--format %s is not allowed; allowed: text, csv, json, html", o.format)
	}
	day, err := time.Parse(time.DateOnly, o.day)
	if err != nil {
		return fmt.Errorf("--day %s is not allowed: it has to be a date, as 2026-11-22", o.day)
	}
	c, err := loadConfig(env, o.config)
	if err != nil {
		return err
	}
	r, err := newReplay(env, c, o.view)
	if err != nil {
		return err
	}
	for _, input := range o.inputs {
		// The figures are looked at in the end; until then they are let go.
		if err := r.read(ctx, input, gatherLast, func([]oee.Result) error { return nil }); err != nil {
			return err
		}
	}
	r.windows.Finish()
	r.windows.Results() // windows are settled as they are told
	view := r.view.OEE()
	made, err := report.New(r.windows, report.Config{View: &view, Date: oee.Date{Year: day.Year(), Month: day.Month(), Day: day.Day()},
		Shift: o.shift, Machines: o.machines, Made: time.Now()})
	if err != nil {
		_ = r.summary() // it may say why
		return err
	}
	if err := writeOutput(env, o.output, func(out io.Writer) error { return write(made, out) }); err != nil {
		return err
	}
	return r.summary()
}

// writeOutput writes a file, whole or not at all, or to standard output.
func writeOutput(env environment, path string, write func(io.Writer) error) error {
	if path == "" {
		return write(env.stdout)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is no file that can be replaced; without --output the report goes to standard output", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails when it was renamed
	err = write(file)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
