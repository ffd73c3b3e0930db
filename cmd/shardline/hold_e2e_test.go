package main

import (
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// TestHeldByCommand holds a destination, then one of its keys, through a
// restart of the worker: whoever is not held goes on, and what was held comes in
// the end, in order.
func TestHeldByCommand(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	one, other := s.receiver("one"), s.receiver("other")
	config := s.config(settings{failover: 2 * time.Second})
	p := s.start(config)
	s.awaitLeases("it has both", ownedBy(2, p))
	s.some(40, 10)
	s.awaitThrough(one, other)
	order := func(words string, args ...string) {
		t.Helper()
		code, stdout, stderr := s.command(append(append([]string{"destinations"}, args...), "--config", config)...)
		if code != 0 || !strings.Contains(stdout, words) {
			t.Fatalf("%s: exit %d: %s%s", args, code, stdout, stderr)
		}
	}
	order("hold one", "hold", "one")
	before := one.count()
	s.some(40, 10)
	s.awaitThrough(other)
	p.stop()
	p = s.start(config)
	s.some(40, 10)
	s.awaitThrough(other)
	if got := one.count(); got != before {
		t.Errorf("%d requests while it is held", got-before)
	}
	order("release one", "release", "one")
	s.awaitThrough(one)

	key := s.messages()[0].key
	order("hold one", "hold", "one", "--key", key)
	mark := s.mark()
	s.some(100, 10)
	await(t, "every other key has everything", func() error {
		var wanted []message
		for _, m := range s.messages() {
			if m.index >= mark[m.key] && m.key != key {
				wanted = append(wanted, m)
			}
		}
		return s.missing(one, wanted)
	})
	for _, m := range s.messages() {
		if m.key == key && m.index >= mark[key] && one.took(m.digest) > 0 {
			t.Fatalf("number %d of the held key was delivered", m.index)
		}
	}
	order("release one", "release", "one", "--key", key)
	s.awaitThrough(one, other)
	p.stop()
	s.check(one)
	s.check(other)
}
