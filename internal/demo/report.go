package demo

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// report prints a line per destination and says whether all is well.
func (r *run) report() (bool, error) {
	dead, err := readDeadLetters(r.Dir)
	if err != nil {
		return false, err
	}
	fmt.Fprintln(r.Out)
	t := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "destination\tacknowledged\tdelivered\tdead-lettered\tlost\tout of order\tduplicates\tchanged\tdeliveries/s\tp50\tp99\t  behaviour\t")
	ok := r.ledger.Count() > 0
	for _, d := range r.destinations {
		res := Check(r.ledger, d.Receiver, deadFor(dead, d.Name))
		ok = ok && res.OK()
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.0f\t%s\t%s\t  %s\t\n", res.Destination, res.Acknowledged, res.Delivered,
			res.DeadLettered, res.Lost, res.OutOfOrder, res.Duplicates, res.Foreign, res.PerSecond,
			res.P50.Round(time.Millisecond), res.P99.Round(time.Millisecond), res.Behaviour)
	}
	if err := t.Flush(); err != nil {
		return false, err
	}
	verdict := "Nothing lost, nothing out of order; duplicates only from the killed worker's last moments."
	if !ok {
		verdict = "BROKEN: see the columns lost, out of order and changed. Logs: " + r.Dir
	}
	fmt.Fprintf(r.Out, "\n%s\n", verdict)
	return ok, nil
}

// readDeadLetters reads the workers' dead-letter files: per destination, the
// messages by their bytes.
func readDeadLetters(dir string) (map[string]map[Digest]bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "failed-*.jsonl"))
	if err != nil {
		return nil, err
	}
	dead := make(map[string]map[Digest]bool)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 32<<20)
		for lines.Scan() {
			var letter struct {
				Destination string
				Data        []byte
			}
			if json.Unmarshal(lines.Bytes(), &letter) != nil {
				continue // half written: not a dead letter yet
			}
			if dead[letter.Destination] == nil {
				dead[letter.Destination] = make(map[Digest]bool)
			}
			dead[letter.Destination][sha256.Sum256(letter.Data)] = true
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return dead, nil
}

// deadFor are the dead letters that count for a destination: its own, and the
// sources', whose records nobody got.
func deadFor(dead map[string]map[Digest]bool, destination string) map[Digest]bool {
	all := maps.Clone(dead[destination])
	if all == nil {
		all = make(map[Digest]bool)
	}
	maps.Copy(all, dead[""])
	return all
}
