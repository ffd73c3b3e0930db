package checkpoint

import (
	"maps"
	"slices"
)

// Equal says whether both tell the same progress. A nil map or slice equals an
// empty one.
func (s Saved) Equal(o Saved) bool {
	return s.Checkpoint == o.Checkpoint && s.Acknowledged == o.Acknowledged && slices.Equal(s.Roster, o.Roster) &&
		maps.EqualFunc(s.Behind, o.Behind, Entry.equal)
}

// Leave takes a subscriber off the roster, with its places.
func (s *Saved) Leave(name string) {
	s.Roster = Without(s.Roster, name)
	s.Behind = maps.Clone(s.Behind)
	delete(s.Behind, name)
}

// Without is a roster that a name has left.
func Without(roster []string, name string) []string {
	left := slices.DeleteFunc(slices.Clone(roster), func(n string) bool { return n == name })
	if len(left) == 0 && len(roster) > 0 {
		return []string{Nobody}
	}
	return left
}

// Clone is a deep copy.
func (s Saved) Clone() Saved {
	c := Saved{Checkpoint: s.Checkpoint, Roster: slices.Clone(s.Roster), Behind: maps.Clone(s.Behind), Acknowledged: s.Acknowledged}
	for name, e := range c.Behind {
		e.Keys = maps.Clone(e.Keys)
		c.Behind[name] = e
	}
	return c
}

// Clone is a deep copy.
func (l Lease) Clone() Lease {
	l.Saved = l.Saved.Clone()
	l.Parents = slices.Clone(l.Parents)
	l.Children = slices.Clone(l.Children)
	return l
}

func (e Entry) equal(o Entry) bool { return e.At == o.At && maps.Equal(e.Keys, o.Keys) }

// apply is what a write of save does to the lease beside its counter: nothing
// without save; a checkpoint that changed starts counting owners anew.
func (l *Lease) apply(save *Saved) {
	if save == nil {
		return
	}
	if save.Checkpoint != l.Checkpoint {
		l.Switches = 0
	}
	l.Saved = save.Clone()
}
