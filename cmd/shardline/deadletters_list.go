package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/redrive"
)

// shownID is how much of a letter's id a table has. It is enough for show.
const shownID = 12

func newDeadLettersListCommand(env environment) *cobra.Command {
	var o letterOptions
	var asJSON bool
	command := &cobra.Command{
		Use:   "list",
		Short: "Print the letters of a dead letter queue, oldest first",
		Long: `Prints the letters that are there and were not redriven, oldest first, and below
what the queue has that is no letter. Of a FIFO queue it prints the first letters
of each destination and key alone: SQS gives no more of a group at once.

With --json a line for each letter, without its data.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listLetters(command.Context(), env, o, asJSON)
		},
	}
	o.flags(command)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON lines")
	return command
}

// listedLetter is one letter's line. Fields are added, never renamed.
type listedLetter struct {
	ID      string `json:"id"`
	Where   string `json:"where"`
	Problem string `json:"problem,omitempty"` // why it is no letter
	Bytes   int    `json:"bytes"`             // of data, as far as it is in the queue
	deliver.DeadLetter
	Data *struct{} `json:"data,omitempty"` // never: it hides the letter's
}

func listLetters(ctx context.Context, env environment, o letterOptions, asJSON bool) error {
	f, err := o.filter(time.Now())
	if err != nil {
		return err
	}
	q, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer q.close()
	found, err := q.scanned(ctx, f)
	if err = errors.Join(err, q.release(ctx)); err != nil {
		return err
	}
	slices.SortStableFunc(found, func(a, b *redrive.Found) int { return a.Letter.Time.Compare(b.Letter.Time) })
	if asJSON {
		return printLetterLines(env.stdout, found)
	}
	return printLetters(env, q, found)
}

func printLetters(env environment, q *openLetters, found []*redrive.Found) error {
	table := tabwriter.NewWriter(env.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tTIME\tDESTINATION\tKEY\tREASON\tATTEMPTS\tSOURCE\tSEQUENCE NUMBER\tBYTES")
	letters := 0
	for _, l := range found {
		if l.Problem != nil {
			continue
		}
		letters++
		size := fmt.Sprint(l.Size)
		if l.Letter.DataIn != "" {
			size = "in " + cell(l.Letter.DataIn)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.Letter.ID()[:shownID], l.Letter.Time.UTC().Format("2006-01-02T15:04:05Z"),
			dash(l.Letter.Destination), dash(l.Letter.Key), cell(l.Letter.Reason), l.Letter.Attempts, dash(l.Letter.Source), dash(l.Letter.SequenceNumber()), size)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	more := ""
	if q.letters.Partial() {
		more = ", the first of each destination and key"
	}
	fmt.Fprintf(env.stderr, "%s in %s%s\n", count(letters, "letter"), q.queue.Name, more)
	for _, l := range found {
		if l.Problem != nil {
			fmt.Fprintf(env.stderr, "%s: %s\n", cell(l.Where), cell(l.Problem.Error()))
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return cell(s)
}

func printLetterLines(w io.Writer, found []*redrive.Found) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, l := range found {
		line := listedLetter{Where: l.Where, Bytes: l.Size, DeadLetter: l.Letter}
		if l.Problem != nil {
			line.Problem = l.Problem.Error()
		} else {
			line.ID = l.Letter.ID()
		}
		if err := e.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func newDeadLettersShowCommand(env environment) *cobra.Command {
	var o letterOptions
	var data bool
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Print one letter, or its data",
		Long: `Prints a letter as JSON. Its id is the one that list prints, or the beginning of
it. With --data its data alone, as it came: for shardline inspect, say.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return showLetter(command.Context(), env, o, args[0], data)
		},
	}
	o.flags(command)
	command.Flags().BoolVar(&data, "data", false, "print the record's data alone, byte for byte")
	return command
}

func showLetter(ctx context.Context, env environment, o letterOptions, id string, data bool) (err error) {
	f, err := o.filter(time.Now())
	if err != nil {
		return err
	}
	q, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer q.close()
	defer func() { err = errors.Join(err, q.release(ctx)) }()
	found, err := q.scanned(ctx, f)
	if err != nil {
		return err
	}
	one, err := letterOf(found, id)
	if err != nil {
		return fmt.Errorf("queue %s: %w", q.queue.Name, err)
	}
	if err := q.letters.Load(ctx, one); err != nil {
		return err
	}
	if !one.Loaded && data {
		if one.Letter.Data, err = q.record(ctx, &one.Letter); err != nil {
			return err
		}
	}
	if data {
		_, err = env.stdout.Write(one.Letter.Data)
		return err
	}
	return printJSON(env.stdout, one.Letter)
}

// letterOf is the letter of an id, or of its beginning. Written twice it counts
// once.
func letterOf(found []*redrive.Found, id string) (*redrive.Found, error) {
	var one *redrive.Found
	for _, l := range found {
		if l.Problem != nil || id == "" || !strings.HasPrefix(l.Letter.ID(), id) {
			continue
		}
		if one != nil && one.Letter.ID() != l.Letter.ID() {
			return nil, fmt.Errorf("several letters have an id that begins with %s: give more of it", id)
		}
		one = l
	}
	if one == nil {
		return nil, fmt.Errorf("there is no letter %s", id)
	}
	return one, nil
}
