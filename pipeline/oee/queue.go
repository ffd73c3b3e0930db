package oee

import (
	"cmp"
	"sort"
)

// waiting is an event that waits for its time, with names as numbers.
type waiting struct {
	time    int64
	index   uint64 // Event.Index
	id      uint64 // a hash of Event.ID; 0: none
	units   [counters]Units
	state   uint32
	reason  uint32
	product uint32
	shard   uint16 // number of its shard
	item    uint16 // of its record's items
	has     counts
}

// compare orders events by time; of one time as they stand in their shards.
func (p *waiting) compare(q *waiting) int {
	if c := cmp.Compare(p.time, q.time); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(p.shard, q.shard), cmp.Compare(p.index, q.index), cmp.Compare(p.item, q.item))
}

// same says whether the two, of one time, are one event.
func (p *waiting) same(q *waiting, content bool) bool {
	if p.shard == q.shard && p.index == q.index && p.item == q.item {
		return true
	}
	if p.id != 0 || q.id != 0 {
		return p.id == q.id
	}
	return content && p.units == q.units && p.has == q.has && p.state == q.state && p.reason == q.reason && p.product == q.product
}

// queue holds the waiting events of a machine in their order. Those that were
// taken out stand before first, until there are enough of them to move the
// rest.
type queue struct {
	events []waiting
	first  int
}

func (q *queue) len() int { return len(q.events) - q.first }

// all returns the events, oldest first.
func (q *queue) all() []waiting { return q.events[q.first:] }

// insert puts an event in its place; false: it is there already.
func (q *queue) insert(p waiting, content bool) bool {
	all := q.all()
	if n := len(all); n == 0 || all[n-1].time < p.time {
		q.append(p)
		return true
	}
	at := sort.Search(len(all), func(i int) bool { return all[i].time >= p.time })
	place := at
	for i := at; i < len(all) && all[i].time == p.time; i++ {
		if all[i].same(&p, content) {
			return false
		}
		if all[i].compare(&p) < 0 {
			place = i + 1
		}
	}
	q.append(p)
	all = q.all()
	copy(all[place+1:], all[place:])
	all[place] = p
	return true
}

// append adds at the end. Space is taken in small steps: thousands of machines
// have a queue each.
func (q *queue) append(p waiting) {
	if len(q.events) == cap(q.events) {
		n := q.len()
		if q.first > n/4 && q.first > 0 {
			copy(q.events, q.all())
			q.events, q.first = q.events[:n], 0
		} else {
			grown := make([]waiting, n, n+n/4+8)
			copy(grown, q.all())
			q.events, q.first = grown, 0
		}
	}
	q.events = append(q.events, p)
}

// drop takes the oldest n out.
func (q *queue) drop(n int) {
	q.first += n
	if q.first == len(q.events) {
		q.events, q.first = q.events[:0], 0
	}
}
