package bench

import (
	"fmt"
	"strings"
	"testing"
)

func TestEachMetric(t *testing.T) {
	text := "# HELP x y\nplain 3\nlabelled{a=\"} 7\",b=\"{\"} 4.5 1700000000000\nlarge 1e+06\n"
	got := ""
	if err := eachMetric(strings.NewReader(text), func(name, labels string, v float64) { got += fmt.Sprint(name, labels, " ", v, ";") }); err != nil {
		t.Fatal(err)
	}
	if want := `plain 3;labelled{a="} 7",b="{"} 4.5;large 1e+06;`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, bad := range []string{"nothing", "x y", "x{a=\"b\"}"} {
		if eachMetric(strings.NewReader(bad), func(string, string, float64) {}) == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// TestReadsSince: a shard's counter may end and begin anew.
func TestReadsSince(t *testing.T) {
	before := usage{reads: map[string]float64{"ended": 7, "goes on": 5, "anew": 9}}
	now := usage{reads: map[string]float64{"goes on": 8, "anew": 2, "new": 4}}
	if n := now.readsSince(before); n != 3+2+4 {
		t.Errorf("%v reads, want 9", n)
	}
}
