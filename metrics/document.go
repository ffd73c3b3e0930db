package metrics

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// The generated part of the document stands between these two lines.
const (
	tableBegin = "<!-- metrics: begin, generated from the code -->"
	tableEnd   = "<!-- metrics: end -->"
)

// namespace is the prefix of Shardline's own metrics: what the Go runtime and
// the operating system add is their documentation's business.
const namespace = "shardline_"

// Table renders Shardline's own metrics of families as a Markdown table, in
// the given order, ending in a newline.
func Table(families []Family) string {
	var b strings.Builder
	b.WriteString("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		if !strings.HasPrefix(f.Name, namespace) {
			continue
		}
		labels := make([]string, len(f.Labels))
		for i, l := range f.Labels {
			labels[i] = "`" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, strings.Join(labels, ", "), cell(f.Help))
	}
	return b.String()
}

// cell makes help safe inside a table.
func cell(help string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(help)
}

// Document compares the table in the Markdown file with families. It names
// every row that is missing, stale or different. With update it writes the
// table instead; a file that does not exist begins with a title.
func Document(file string, families []Family, update bool) error {
	want := Table(families)
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && update {
		text, err = []byte("# Metrics\n\n"+tableBegin+"\n"+tableEnd+"\n"), nil
	}
	if err != nil {
		return fmt.Errorf("read the metrics document: %w", err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin+"\n")
	have, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s: the lines %q and %q are needed around the table", file, tableBegin, tableEnd)
	}
	have = strings.Trim(have, "\n") + "\n"
	if update {
		return os.WriteFile(file, []byte(before+tableBegin+"\n\n"+want+"\n"+tableEnd+after), 0o644)
	}
	if have == want {
		return nil
	}
	return fmt.Errorf("%s does not match the code; run the test with -update:\n%s", file, difference(have, want))
}

// difference lists the rows of have that are not in want, and the reverse.
func difference(have, want string) string {
	rows := func(table string) (lines []string, set map[string]bool) {
		lines = strings.Split(strings.TrimSpace(table), "\n")
		set = make(map[string]bool, len(lines))
		for _, l := range lines {
			set[l] = true
		}
		return lines, set
	}
	haveRows, inHave := rows(have)
	wantRows, inWant := rows(want)
	var b strings.Builder
	for _, r := range haveRows {
		if !inWant[r] {
			b.WriteString("- " + r + "\n")
		}
	}
	for _, r := range wantRows {
		if !inHave[r] {
			b.WriteString("+ " + r + "\n")
		}
	}
	if b.Len() == 0 {
		return "the rows stand in another order"
	}
	return b.String()
}

// Names returns the metrics that the table of a Markdown file names, the
// series of a histogram (_bucket, _sum, _count) among them: every name that a
// query may use.
func Names(file string) (map[string]bool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the metrics document: %w", err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		name := strings.Trim(strings.TrimSpace(cells[1]), "`")
		if !strings.HasPrefix(name, namespace) {
			continue
		}
		switch kind := strings.TrimSpace(cells[2]); kind {
		case "histogram":
			names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
		case "summary":
			names[name], names[name+"_sum"], names[name+"_count"] = true, true, true
		default:
			names[name] = true
		}
	}
	return names, nil
}
