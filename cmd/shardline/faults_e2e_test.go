package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// TestReceiversThroughFaults delivers to receivers behind proxies with faults:
// connections that are refused, reset in the middle of requests and answers,
// stormed with 503, slow, and that swallow everything. One worker is killed
// meanwhile. Each receiver has everything in order, one what passes its filter, and
// nothing is dead-lettered.
func TestReceiversThroughFaults(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2, 1)
	first, second, plain, some := s.receiver("first"), s.receiver("second"), s.receiver("plain"), newReceiver(t, "some")
	proxies := s.throughFaults(first, second)
	config := s.config(settings{delivery: "timeout: 2s", destinations: []destinationSettings{{receiver: first}, {receiver: second}, {receiver: plain},
		{receiver: some, more: `filter: source == hotels-0 && key != "hotels-0 004"`}}})
	s.some(200, 30)
	killed, other := s.start(config), s.start(config)
	faulty := func(n int) func() error {
		before := []map[fault]int{proxies[0].counts(), proxies[1].counts()}
		return all(func() error { return proxies[0].had(n, before[0]) }, func() error { return proxies[1].had(n, before[1]) })
	}
	s.feedUntil("every fault to both", 30, faulty(3), first, second)
	killed.kill()
	third := s.start(config)
	s.feedUntil("every fault once more", 30, faulty(2), first, second)
	for _, p := range proxies {
		p.rest()
	}
	s.awaitThrough(first, second, plain)
	passes := func(m message) bool { return strings.HasPrefix(m.key, "hotels-0 ") && m.key != "hotels-0 004" }
	await(t, "some has what passes its filter", func() error {
		return s.missing(some, slices.DeleteFunc(s.messages(), func(m message) bool { return !passes(m) }))
	})
	for _, q := range some.all() {
		if m := s.of[q.digest]; !passes(m) {
			t.Errorf("number %d of %s came through the filter", m.index, m.key)
		}
	}
	other.stop()
	third.stop()
	for _, r := range s.receivers {
		result := s.check(r)
		t.Logf("%s: %d delivered, %d duplicates", r.name, result.Delivered, result.Duplicates)
	}
	if letters := s.letters(); len(letters) > 0 {
		t.Errorf("%d dead letters, the first %s: %s", len(letters), letters[0].Reason, letters[0].Detail)
	}
}

// TestAWSThroughFaults lets two workers reach AWS through proxies with the same
// faults, through a split. Then the faults end, and one of them is cut off for longer
// than the fail-over time, and heals: the other one has everything meanwhile.
// Nothing is lost or out of order.
func TestAWSThroughFaults(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	quick, refusing := s.receiver("quick"), s.receiver("refusing")
	refusing.behaves(func(q *request) reply {
		if q.digest[0] < 10 { // some go to the dead letters
			return reply{status: http.StatusUnprocessableEntity}
		}
		return accept()
	})
	config := s.config(settings{failover: 4 * time.Second})
	var proxies []*faultProxy
	var workers []*process
	endpoint := s.aws.Endpoint()
	environment := s.environment
	for i := range 2 {
		p := newFaultProxy(t, endpoint[len("http://"):], s.seed, uint64(200+i))
		s.environment = append(environment[:len(environment):len(environment)], "AWS_ENDPOINT_URL=http://"+p.address())
		proxies, workers = append(proxies, p), append(workers, s.start(config))
	}
	s.some(100, 30)
	s.feedUntil("a few faults to both", 30, all(func() error { return proxies[0].hadAny(6) }, func() error { return proxies[1].hadAny(6) }), quick)
	s.split(0)
	s.feedUntil("every fault to both", 30, all(func() error { return proxies[0].had(1, nil) }, func() error { return proxies[1].had(1, nil) }), quick)
	for _, p := range proxies {
		p.rest()
	}
	looks := func(that func([]checkpoint.Lease) error) func() error {
		return func() error {
			leases, err := s.leases()
			if err != nil {
				return err
			}
			return that(leases)
		}
	}
	s.feedUntil("both have children", 30, all(looks(begun(2, 3)), looks(ownedBy(1, workers...))), quick)
	proxies[0].sever(true)
	s.feedUntil("the other one has everything", 30, looks(ownedBy(3, workers[1])), quick)
	proxies[0].sever(false)
	s.awaitLeases("they share again", ownedBy(1, workers...))
	s.some(100, 30)
	s.awaitThrough(quick, refusing)
	for _, w := range workers {
		w.stop()
	}
	for _, r := range s.receivers {
		result := s.check(r)
		t.Logf("%s: %d delivered, %d dead-lettered, %d duplicates", r.name, result.Delivered, result.DeadLettered, result.Duplicates)
	}
	s.checkParentsFinished(t)
}
