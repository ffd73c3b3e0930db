package main

import "testing"

// TestEveryDefectApplies: a text that is gone, or stands twice, would make a
// defect vanish unnoticed.
func TestEveryDefectApplies(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two defects are called %q", m.name)
		}
		names[m.name] = true
		if _, err := m.overlay(root, t.TempDir()); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	if len(mutants) < 30 {
		t.Errorf("%d defects", len(mutants))
	}
}
