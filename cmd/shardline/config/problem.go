package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File    string // as given; <stdin> or SHARDLINE_CONFIG
	Line    int    // from 1; 0: the file as a whole
	Column  int    // from 1, in characters
	Path    string // of the field, e.g. sources[0].role.arn; empty: the file as a whole
	Message string // what was found, what is allowed
}

// String is file:line:column: path: message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is everything that is wrong with a configuration, by file and
// position.
type Problems []Problem

// Error is one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted orders problems by position, those of the first file first, and
// drops repetitions.
func (ps Problems) sorted(first string) Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if (a.File == first) != (b.File == first) {
			if a.File == first {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(ps)
}

var printable = regexp.MustCompile(`^[\x21-\x7e]+$`)

// didYouMean names the known name nearest to a misspelt one, when one is
// near enough, as the end of a message.
func didYouMean(found string, known []string) string {
	const longest = 64
	if found == "" || len(found) > longest {
		return ""
	}
	best, least := "", max(2, len(found)/3)+1
	for _, k := range known {
		if len(k) > longest || !printable.MatchString(k) {
			continue
		}
		if distance := distance(strings.ToLower(found), strings.ToLower(k)); distance < least && distance < len(k) {
			best, least = k, distance
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is the edits (insert, delete, replace one byte, swap two
// neighbours) from a to b: optimal string alignment.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(replace, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
