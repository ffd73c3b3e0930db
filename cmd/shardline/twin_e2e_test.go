package main

import (
	"testing"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// TestTwoProcessesUnderOneID starts a second process under the worker id of a
// first one: it says so and exits 1, and the first one goes on. After kill -9
// a restart under the same id takes what its predecessor had.
func TestTwoProcessesUnderOneID(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	r := s.receiver("a")
	config := s.config(settings{failover: 2 * time.Second})
	s.some(40, 8)
	first := s.start(config)
	s.awaitLeases("it owns every shard", ownedBy(2, first))
	second := s.start(config, "TEST_WORKER="+first.name)
	second.awaitExit(1)
	second.awaitLog("give every process its own worker_id")
	if first.ended() {
		t.Fatal("the first process has ended")
	}
	s.some(40, 8)
	s.awaitThrough(r)
	first.kill()
	again := s.start(config, "TEST_WORKER="+first.name)
	s.some(40, 8)
	s.awaitThrough(r)
	again.stop()
	if again.logged("worker_id") != "" {
		t.Error("a restart takes its predecessor for another process")
	}
	s.check(r)
}
