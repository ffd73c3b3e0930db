package main

import (
	"slices"
	"testing"

	"github.com/shardline/shardline/cmd/shardline/config"
)

// TestChangedDestinations: a field that is gone is a change, too.
func TestChangedDestinations(t *testing.T) {
	changes := []config.Change{
		{Section: "sources", Name: "a", Field: "role", Kind: config.Changed},
		{Section: "destinations", Name: "b", Field: "headers.X-A", Kind: config.Removed},
		{Section: "destinations", Name: "c", Field: "timeout", Kind: config.Changed},
		{Section: "destinations", Name: "c", Field: "headers.X-A", Kind: config.Added},
		{Field: "log.level", Kind: config.Changed},
	}
	if got := changedDestinations(changes); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("got %v", got)
	}
}
