package opentravel

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what is kept of a receiver's words, in bytes.
const (
	maxText = 300
	maxCode = 60
)

// printable is text from outside as one line for logs and dead letters: white
// space becomes single spaces, control and format characters and broken bytes
// go, and what is longer than longest bytes is cut.
func printable(text string, longest int) string {
	var b strings.Builder
	gap := false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			gap = true
			continue
		case r == utf8.RuneError || !unicode.IsGraphic(r):
			continue
		}
		need := utf8.RuneLen(r)
		if gap && b.Len() > 0 {
			need++
		}
		if b.Len()+need > longest-len("…") {
			b.WriteString("…")
			break
		}
		if gap && b.Len() > 0 {
			b.WriteByte(' ')
		}
		gap = false
		b.WriteRune(r)
	}
	return b.String()
}
