package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

func newOEEReplayCommand(env environment) *cobra.Command {
	var path, view, format string
	var inputs []string
	var all bool
	command := &cobra.Command{
		Use:   "replay --config FILE --view NAME --input FILE…",
		Short: "Compute a view of a configuration from files of records",
		Long: `Compute a view offline, to try a configuration on history, and print its windows.

A line of a FILE is a record: the payload itself, or
{"source":…,"partition_key":…,"approximate_arrival":…,"data":…} with the payload
as an object, as text or in base64. Where a view has several inputs, a line that
names no source belongs to the one that the file is given for, --input mes=FILE,
else to the one that it fits alone.
FILE - is standard input; files may be compressed with gzip. Files are read one
after the other, in the order in which they are given: records of one machine
stand in the order in which the stream had them.

Printed are the windows as they are at the end, by time and machine; with --all
each revision of a window, as it comes to be. A window that the records do not
reach the end of is "early". --format json: one result a line, as views publish
them. --format text: a table, without windows in which nothing was planned or made.

A record that cannot be decoded is named, with file and line, and left out; the
exit code is then 1. What the view sets aside (late events, unknown states, wrong
clocks) is counted on standard error.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(command *cobra.Command, files []string) error {
			inputs = append(inputs, files...)
			switch {
			case view == "":
				return errors.New("--view is required: which of the configuration's views")
			case len(inputs) == 0:
				return errors.New("--input is required: files of records, or - for standard input")
			case format != "json" && format != "text":
				return fmt.Errorf("--format %s is not allowed; allowed: json, text", format)
			}
			c, err := loadConfig(env, path)
			if err != nil {
				return err
			}
			r, err := newReplay(env, c, view)
			if err != nil {
				return err
			}
			return r.run(command.Context(), inputs, newResultPrinter(format, r.view, env.stdout), all)
		},
	}
	configFlag(command, &path)
	command.Flags().StringVar(&view, "view", "", "the `NAME` of the view")
	command.Flags().StringArrayVar(&inputs, "input", nil, "a `FILE` of records, - for standard input, or SOURCE=FILE; further ones may follow")
	command.Flags().StringVar(&format, "format", "json", "json or text")
	command.Flags().BoolVar(&all, "all", false, "print each revision of a window, not the last alone")
	return command
}

// replay computes a view from files.
type replay struct {
	env      environment
	view     *config.View
	windows  *oee.View
	decoders map[string]*decode.Decoder // by source
	lines    *decode.Lines

	records, refused, foreign int

	gathered int       // the records when the view was last asked for windows
	at       time.Time // of the last event then
}

func newReplay(env environment, c *config.Config, name string) (*replay, error) {
	v := c.View(name)
	if v == nil {
		var known []string
		for i := range c.Views {
			known = append(known, c.Views[i].Name)
		}
		if known == nil {
			return nil, fmt.Errorf("there is no view named %s: the configuration has none", name)
		}
		return nil, fmt.Errorf("there is no view named %s; there is %s", name, strings.Join(known, ", "))
	}
	r := &replay{env: env, view: v, decoders: make(map[string]*decode.Decoder), lines: decode.NewLines()}
	var err error
	if r.windows, err = oee.New(v.OEE()); err != nil {
		return nil, err
	}
	for i := range v.Inputs {
		in := &v.Inputs[i]
		if r.decoders[in.Source], err = decode.New(v.Decoder(in)); err != nil {
			return nil, fmt.Errorf("view %s, input %s: %w", name, in.Source, err)
		}
	}
	return r, nil
}

// How often the view is asked for windows, by the time of the events and by the
// number of records, so that two runs say the same. In between it may revise a
// window several times, and it forgets none within its time to retain.
const (
	gatherAll    = time.Minute
	gatherLast   = time.Hour
	gatherAtMost = 100 // records
)

// run computes the windows of the files and prints them.
func (r *replay) run(ctx context.Context, inputs []string, show func([]oee.Result) error, all bool) error {
	kept := make(map[resultKey]oee.Result)
	gather := func(results []oee.Result) error {
		if all {
			return show(results)
		}
		for i := range results {
			kept[keyOf(&results[i])] = results[i]
		}
		return nil
	}
	every := gatherLast
	if all {
		every = gatherAll
	}
	for _, input := range inputs {
		if err := r.read(ctx, input, every, gather); err != nil {
			return err
		}
	}
	r.windows.Finish()
	if err := gather(r.windows.Results()); err != nil {
		return err
	}
	if err := gather(r.windows.Early()); err != nil {
		return err
	}
	if !all {
		last := make([]oee.Result, 0, len(kept))
		for _, result := range kept {
			last = append(last, result)
		}
		slices.SortFunc(last, compareResults)
		if err := show(last); err != nil {
			return err
		}
	}
	if err := show(nil); err != nil {
		return err
	}
	return r.summary()
}

// read applies the records of one file.
func (r *replay) read(ctx context.Context, input string, every time.Duration, gather func([]oee.Result) error) error {
	source, file := r.sourceOf(input)
	var batch decode.Batch
	return eachLine(r.env, file, func(number int, line []byte) error {
		r.records++
		batch.Events, batch.Rows, batch.Left = batch.Events[:0], batch.Rows[:0], 0
		switch err := r.decode(source, line, &batch); {
		case errors.Is(err, errForeign):
			r.foreign++
		case err != nil:
			r.refused++
			fmt.Fprintf(r.env.stderr, "%s:%d: %v\n", file, number, err)
		}
		for i := range batch.Events {
			r.windows.Apply(batch.Events[i])
		}
		for i := range batch.Rows {
			r.windows.Put(batch.Rows[i])
		}
		n := len(batch.Events)
		if n == 0 || r.records-r.gathered < gatherAtMost || batch.Events[n-1].Time.Sub(r.at).Abs() < every {
			return nil
		}
		r.gathered, r.at = r.records, batch.Events[n-1].Time
		if err := ctx.Err(); err != nil {
			return err
		}
		return gather(r.windows.Results())
	})
}

// sourceOf takes SOURCE=FILE apart, where SOURCE is an input of the view; of a
// view with one input every line is of that.
func (r *replay) sourceOf(input string) (source, file string) {
	if name, rest, ok := strings.Cut(input, "="); ok && r.decoders[name] != nil {
		return name, rest
	}
	if len(r.view.Inputs) == 1 {
		return r.view.Inputs[0].Source, input
	}
	return "", input
}

// errForeign is a record of a source that the view does not read.
var errForeign = errors.New("a record of another source")

// decode appends what a line says to batch.
func (r *replay) decode(source string, text []byte, batch *decode.Batch) error {
	if text == nil {
		return fmt.Errorf("the line is longer than %d MiB: no record", maxLine>>20)
	}
	line, err := r.lines.Read(text)
	if err != nil {
		return err
	}
	if line.Source != "" {
		source = line.Source
	}
	record := decode.Record{
		Data: line.Data, Arrival: line.Arrival, Index: uint64(r.records),
		Position: oee.Position{Shard: source, Sequence: strconv.Itoa(r.records)},
	}
	d := r.decoders[source]
	switch {
	case d == nil && line.Source != "":
		return errForeign
	case d == nil:
		return r.fit(record, batch)
	}
	return d.Decode(record, batch)
}

// fit decodes a line that names no source, of a view with several inputs, as
// the one that it fits.
func (r *replay) fit(record decode.Record, batch *decode.Batch) error {
	const advice = "give the file as --input SOURCE=FILE"
	var fits, reasons []string
	for i := range r.view.Inputs {
		source := r.view.Inputs[i].Source
		var tried decode.Batch
		record.Position.Shard = source
		switch err := r.decoders[source].Decode(record, &tried); {
		case err != nil:
			reasons = append(reasons, fmt.Sprintf("as %s: %v", source, err))
		case len(tried.Events)+len(tried.Rows) > 0:
			fits = append(fits, source)
			*batch = tried
		}
	}
	switch {
	case len(fits) > 1:
		batch.Events, batch.Rows = nil, nil
		return fmt.Errorf("the line names no source, and fits %s: %s", strings.Join(fits, " and "), advice)
	case len(reasons) == len(r.view.Inputs):
		return fmt.Errorf("the line names no source, and fits none: %s: %s", strings.Join(reasons, "; "), advice)
	}
	return nil
}

// summary says what is not in the figures; records that were refused end the
// command with exit code 1.
func (r *replay) summary() error {
	if r.foreign > 0 {
		fmt.Fprintf(r.env.stderr, "%s of other sources left out\n", count(r.foreign, "record"))
	}
	for _, kind := range oee.SideKinds() {
		side := r.windows.Side(kind)
		if side.Count == 0 {
			continue
		}
		fmt.Fprintf(r.env.stderr, "%s: %s", kind, count(int(side.Count), "event"))
		if n := len(side.Samples); n > 0 {
			s := &side.Samples[n-1]
			fmt.Fprintf(r.env.stderr, ", the last of machine %s at %s", cell(s.Event.Machine), s.Event.Time.Format(time.RFC3339Nano))
			if s.Note != "" {
				fmt.Fprintf(r.env.stderr, ": %s", s.Note)
			}
		}
		fmt.Fprintln(r.env.stderr)
	}
	if r.refused > 0 {
		fmt.Fprintf(r.env.stderr, "%d of %s could not be decoded\n", r.refused, count(r.records, "record"))
		return errReported
	}
	return nil
}
