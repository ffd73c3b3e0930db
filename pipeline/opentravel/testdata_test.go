package opentravel_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardline/shardline/pipeline/opentravel"
)

// fieldSamples is the folder of messages from the field, or skips the test.
func fieldSamples(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("SHARDLINE_TESTDATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "testdata")
	}
	folder = filepath.Join(folder, "opentravel")
	if _, err := os.Stat(filepath.Join(folder, "index.tsv")); err != nil {
		t.Skipf("no messages from the field here (SHARDLINE_TESTDATA names the folder): %v", err)
	}
	return folder
}

// TestFieldSamples holds Scan against an index of messages from the field:
// type, hotels, places and SOAP version of each, and which must be refused.
func TestFieldSamples(t *testing.T) {
	folder := fieldSamples(t)
	index, err := os.ReadFile(filepath.Join(folder, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(index), "\r\n"), "\n")
	for _, line := range lines[1:] {
		column := strings.Split(strings.TrimRight(line, "\r"), "\t")
		if len(column) < 8 {
			t.Fatalf("index line with %d columns: %q", len(column), line)
		}
		t.Run(column[0], func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(folder, column[0]))
			if err != nil {
				t.Fatal(err)
			}
			m, err := opentravel.Scan(data)
			if strings.HasPrefix(column[0], "bad_") {
				var refused *opentravel.SyntaxError
				if !errors.As(err, &refused) {
					t.Fatalf("accepted as %+v", m)
				}
				t.Log(refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != column[4] {
				t.Errorf("type %s, want %s", m.Type, column[4])
			}
			want := column[5]
			if want == "none" || want == "-" {
				want = ""
			}
			if got := strings.Join(m.HotelCodes, ","); got != want {
				t.Errorf("hotels %s, want %s", got, want)
			}
			soap := column[7]
			if soap == "none" {
				soap = ""
			}
			if m.SOAP != soap {
				t.Errorf("SOAP %q, want %q", m.SOAP, soap)
			}
			var places []string
			for _, place := range strings.Split(column[6], "; ") {
				place, _, _ = strings.Cut(place, " x")
				if place != "" && place != "DistribSystem/@HotelCode" {
					places = append(places, place)
				}
			}
			if got, want := strings.Join(m.FoundAt, "; "), strings.Join(places, "; "); got != want {
				t.Errorf("found at %q, want %q", got, want)
			}
		})
	}
}
