package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// byFanOut are the sources of the scene, read by enhanced fan-out.
func (s *scene) byFanOut(more string) (sources []sourceSettings) {
	for _, st := range s.streams {
		sources = append(sources, sourceSettings{stream: st, more: "read: enhanced_fan_out" + more})
	}
	return sources
}

// TestFanOut reads streams of two accounts by enhanced fan-out, through a split,
// a kill and a worker that is stopped until another one has its shards: the
// stopped one does not take the subscriptions back.
func TestFanOut(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2, 1)
	quick, slow := s.receiver("quick"), s.receiver("slow").slow(2*time.Millisecond)
	config := s.config(settings{failover: 2 * time.Second, sources: s.byFanOut("")})
	s.some(200, 20)
	first := s.start(config)
	s.awaitThrough(quick, slow)
	s.split(0)
	s.some(100, 20)
	s.awaitThrough(quick, slow)
	s.awaitLeases("the children have begun", begun(2, 3))

	stopFeeding := s.keepFeeding(4, 20, 50*time.Millisecond)
	second := s.start(config)
	s.awaitLeases("they share", ownedBy(1, first, second))
	first.kill()
	s.awaitLeases("the second one has everything", ownedBy(4, second))
	s.awaitThrough(quick, slow)

	third := s.start(config)
	s.awaitLeases("they share again", ownedBy(1, second, third))
	s.awaitThrough(quick, slow)
	second.signal(syscall.SIGSTOP)
	s.awaitLeases("the third one has everything", ownedBy(4, third))
	s.awaitThrough(quick, slow)
	taken := func() (total string) {
		for _, st := range s.streams {
			total += third.sample(fmt.Sprintf(`shardline_consumers_read_errors_total{reason="in_use",source="%s"}`, st.name)) + " "
		}
		return total
	}
	before := taken()
	second.signal(syscall.SIGCONT)
	second.awaitLog(`"lease lost"`)
	s.awaitLeases("they share once more", ownedBy(1, second, third))
	s.awaitThrough(quick, slow)
	if after := taken(); after != before {
		t.Errorf("subscriptions that were taken from the third worker: %s, before the second went on: %s", after, before)
	}
	stopFeeding()
	s.awaitThrough(quick, slow)
	if on := third.sample(`shardline_consumers_fan_out{source="hotels-0"}`); on != "1" {
		t.Errorf("fan_out is %s, want 1", on)
	}
	s.awaitLeases("no lease is on its way", ownedBy(2, second, third))
	second.stop()
	third.stop()
	for _, r := range s.receivers {
		s.check(r)
	}
	s.checkParentsFinished(t)
	for _, p := range []*process{first, second, third} { // whoever is behind is read for by polling; the stream is not
		if line := p.logged("no enhanced fan-out"); line != "" {
			t.Error(line)
		}
	}
}

// TestFanOutWithoutAConsumer polls while the role may not subscribe as the
// consumer that is configured, and says so.
func TestFanOutWithoutAConsumer(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	r := s.receiver("channel")
	s.some(50, 10)
	p := s.start(s.config(settings{sources: s.byFanOut(", consumer_name: others")}))
	s.awaitThrough(r)
	p.awaitLog(`"level":"warn"`, "no enhanced fan-out", `"consumer":"others"`, "kinesis:DescribeStreamConsumer")
	if on := p.sample(`shardline_consumers_fan_out{source="hotels-0"}`); on != "0" {
		t.Errorf("fan_out is %s, want 0", on)
	}
	p.stop()
	s.check(r)
}
