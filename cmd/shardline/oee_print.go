package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline/oee"
)

// resultKey is whose figures of which window a result is.
type resultKey struct {
	line, machine, kind, name string
	start                     int64
}

func keyOf(r *oee.Result) resultKey {
	return resultKey{r.Line, r.Machine, r.Window.Kind, r.Window.Name, r.Window.Start.UnixNano()}
}

// compareResults orders results by time, shorter windows first, machines before
// lines.
func compareResults(a, b oee.Result) int {
	return cmp.Or(
		a.Window.Start.Compare(b.Window.Start), a.Window.End.Compare(b.Window.End),
		cmp.Compare(a.Window.Kind, b.Window.Kind), cmp.Compare(a.Window.Name, b.Window.Name),
		cmp.Compare(a.Line, b.Line), cmp.Compare(a.Machine, b.Machine),
	)
}

// newResultPrinter prints results; nil is the end.
func newResultPrinter(format string, v *config.View, out io.Writer) func([]oee.Result) error {
	buffered := bufio.NewWriterSize(out, 1<<16)
	if format == "json" {
		var line []byte
		return func(results []oee.Result) error {
			for i := range results {
				line = append(results[i].AppendJSON(line[:0]), '\n')
				if _, err := buffered.Write(line); err != nil {
					return fmt.Errorf("print: %w", err)
				}
			}
			return flushed(buffered)
		}
	}
	table := tabwriter.NewWriter(buffered, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "WINDOW\tFROM (%s)\tMACHINE\tPLANNED\tRUN\tTOTAL\tGOOD\tA\tP\tQ\tOEE\tSTATE\n", v.TimeZone)
	return func(results []oee.Result) error {
		for i := range results {
			if sums := &results[i].Sums; sums.Planned != 0 || sums.Total != 0 || sums.Good != 0 || sums.Rejected != 0 {
				printWindow(table, &results[i])
			}
		}
		if results != nil {
			return nil
		}
		if err := table.Flush(); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return flushed(buffered)
	}
}

func flushed(w *bufio.Writer) error {
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func printWindow(out io.Writer, r *oee.Result) {
	window := r.Window.Kind
	if r.Window.Name != "" {
		window += " " + r.Window.Name
	}
	of := cell(r.Machine)
	if r.Line != "" {
		of = "line " + cell(r.Line)
	}
	percent := func(value float64, ok bool) string {
		if !ok {
			return "-"
		}
		return strconv.FormatFloat(100*value, 'f', 2, 64) + "%"
	}
	state := r.State.String()
	if r.Revision > 1 && r.Line == "" { // a line's is the sum of its machines'
		state += fmt.Sprintf(" (revision %d)", r.Revision)
	}
	for _, flag := range r.Flags {
		state += ", " + string(flag)
	}
	fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", window, r.Window.Start.Format("2006-01-02 15:04"), of,
		r.Sums.Planned, r.Sums.Run, r.Sums.Total, r.Sums.Good,
		percent(r.Availability()), percent(r.Performance()), percent(r.Quality()), percent(r.OEE()), state)
}
