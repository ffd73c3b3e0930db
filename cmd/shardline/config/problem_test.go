package config

import "testing"

func TestDidYouMean(t *testing.T) {
	known := []string{"region", "sources", "leases", "on_exhausted", "max", "max_age", "channel-001", "channel-002"}
	for found, want := range map[string]string{
		"regoin":        "region", // two neighbours swapped: one edit
		"Regions":       "region",
		"lease":         "leases",
		"on-exhausted":  "on_exhausted",
		"onexhausted":   "on_exhausted",
		"maxage":        "max_age",
		"channel-01":    "channel-001",
		"channel-003":   "channel-001", // the first of the nearest
		"destination":   "",
		"xyz":           "",
		"":              "",
		"m":             "max",
		"sourcesources": "",
	} {
		if want != "" {
			want = " (did you mean " + want + "?)"
		}
		if got := didYouMean(found, known); got != want {
			t.Errorf("%q: got %q, want %q", found, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"abc", "acb", 1}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1},
		{"kitten", "sitting", 3}, {"ca", "abc", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
