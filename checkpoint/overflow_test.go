package checkpoint_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// Saves that fail for hours leave no more work for the one that succeeds than a
// few did.
func TestOverflowThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, m := meteredTables(t)
		store := openTables(t, client)
		if err := store.Create(t.Context(), shardLease("shardId-0")); err != nil {
			t.Fatal(err)
		}
		l, err := store.Take(t.Context(), shardLease("shardId-0"), "a", "t1")
		if err != nil {
			t.Fatal(err)
		}
		behind := map[string]checkpoint.Entry{}
		for i := range 200 {
			behind[strings.Repeat("x", 50)+string(rune(0x4e00+i))] = checkpoint.Entry{At: checkpoint.Number("10", 0)}
		}
		save := &checkpoint.Saved{Checkpoint: checkpoint.Number("100", 0), Behind: behind}
		fault, err := server.AddFault(localaws.Fault{Operation: "dynamodb.PutItem", Kind: localaws.Error500})
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			if _, err := store.Renew(t.Context(), l, save); !errors.Is(err, checkpoint.ErrNotSaved) {
				t.Fatalf("Renew: %v, want ErrNotSaved", err)
			}
		}
		server.RemoveFault(fault)
		reads := m.reads
		if _, err := store.Renew(t.Context(), l, save); err != nil {
			t.Fatal(err)
		}
		if n := m.reads - reads; n > 10 {
			t.Errorf("%g units read to clean up after 300 failures, want 10 at most", n)
		}
	})
}
