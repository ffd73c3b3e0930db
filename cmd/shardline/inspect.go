package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/pipeline/opentravel"
)

// maxInspected is the largest file that inspect reads: beyond any record of a
// stream (10 MiB), with room for a file that was never meant to be one.
const maxInspected = 64 << 20

// someFiles wants at least one argument.
func someFiles(_ *cobra.Command, files []string) error {
	if len(files) == 0 {
		return errors.New("no FILE is named; - is standard input")
	}
	return nil
}

func newInspectCommand(env environment) *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:   "inspect [--json] FILE…",
		Short: "Tell type, hotel codes and SOAP version of OpenTravel messages",
		Long: `Tell what Shardline sees in OpenTravel messages: type, hotel codes, where they
were found (HDR: in the SOAP header, which does not count), SOAP version, or why
and where (line:column) a message is refused. FILE - is standard input.

Exits 1 when a file cannot be read or is refused. A message without a hotel code
is no error.

With --json one line per file: file, type, hotel_codes, found_at, soap ("", "1.1"
or "1.2"), error (null, or the reason).`,
		Args: someFiles,
		RunE: func(_ *cobra.Command, files []string) error {
			printer := printInspectedTable
			if asJSON {
				printer = printInspectedJSON
			}
			return inspect(env, files, printer)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON lines")
	return command
}

// inspected is one file's line.
type inspected struct {
	File       string   `json:"file"`
	Type       string   `json:"type"`
	HotelCodes []string `json:"hotel_codes"`
	FoundAt    []string `json:"found_at"`
	SOAP       string   `json:"soap"`
	Error      *string  `json:"error"`
}

// inspect reads the files one after the other, at most one in memory, and
// passes each to a printer, which is called with nil at the end.
func inspect(env environment, files []string, newPrinter func(io.Writer) func(*inspected) error) error {
	show := newPrinter(env.stdout)
	refused := false
	for _, file := range files {
		line := inspected{File: file, HotelCodes: []string{}, FoundAt: []string{}}
		m, err := inspectFile(env, file)
		if err != nil {
			reason := err.Error()
			line.Error = &reason
			refused = true
		} else {
			line.Type, line.SOAP = m.Type, m.SOAP
			line.HotelCodes = append(line.HotelCodes, m.HotelCodes...)
			line.FoundAt = append(line.FoundAt, m.FoundAt...)
		}
		if err := show(&line); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	if err := show(nil); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if refused {
		return errReported
	}
	return nil
}

func inspectFile(env environment, file string) (opentravel.Message, error) {
	input := env.stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			var path *os.PathError
			if errors.As(err, &path) {
				err = path.Err // the file's name stands beside it
			}
			return opentravel.Message{}, err
		}
		defer opened.Close()
		input = opened
	}
	data, err := io.ReadAll(io.LimitReader(input, maxInspected+1))
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return opentravel.Message{}, err
	}
	if len(data) > maxInspected {
		return opentravel.Message{}, fmt.Errorf("larger than %d MiB: no message", maxInspected>>20)
	}
	return opentravel.Scan(data)
}

func printInspectedJSON(out io.Writer) func(*inspected) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return func(line *inspected) error {
		if line == nil {
			return nil
		}
		return encoder.Encode(line)
	}
}

func printInspectedTable(out io.Writer) func(*inspected) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "FILE\tTYPE\tHOTEL CODES\tSOAP\tFOUND AT")
	return func(line *inspected) error {
		if line == nil {
			return table.Flush()
		}
		if line.Error != nil {
			_, err := fmt.Fprintf(table, "%s\t-\t-\t-\terror: %s\n", cell(line.File), cell(*line.Error))
			return err
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n",
			cell(line.File), cell(line.Type), cell(line.HotelCodes...), cell(line.SOAP), cell(line.FoundAt...))
		return err
	}
}

// cell is a table cell from values that came from outside: quoted when they
// would not print as one word of the table, - when there are none.
func cell(values ...string) string {
	var b strings.Builder
	for i, value := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		for _, r := range value {
			if !strconv.IsPrint(r) {
				value = strconv.Quote(value)
				break
			}
		}
		b.WriteString(value)
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}
