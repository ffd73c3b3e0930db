package simulation

import (
	"fmt"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// sick is a receiver that stays as it is until the end of a history.
type sick struct {
	mood mood
	key  string // the mood is for this key alone; empty: for all
}

// Isolation is what came of one history with sick receivers, or without.
type Isolation struct {
	Report
	// Slowest is, by subscriber that is well, the longest time from the arrival of a
	// record to its first attempt.
	Slowest map[string]time.Duration
	Reads   int // of records, until then
	Shards  int // that there were in the end
}

// RunIsolated makes one history in which nothing goes wrong but what sick
// receivers do: all the time they hang, refuse, are closed, slow or failing, or
// one key of theirs is. The same seed without them puts the same records and
// reshards at the same times. Then they are well, and everything must drain.
// It is called in a bubble of testing/synctest.
func RunIsolated(seed uint64, ill bool) Isolation {
	h := &history{world: newWorld(seed), receivers: make(map[string]*receiver)}
	h.check.failover = failover
	h.check.starts = make(map[string]start)
	h.calm.Store(true)
	h.planIsolated(ill)
	h.play()
	iso := Isolation{Slowest: h.slowest()}
	h.mu.Lock()
	for _, r := range h.receivers {
		r.sick = nil
	}
	iso.Reads, iso.Shards = h.streams[0].reads, len(h.streams[0].shards)
	h.mu.Unlock()
	h.end()
	iso.Report = h.report(seed)
	return iso
}

func (h *history) planIsolated(ill bool) {
	d := h.dice
	h.format, h.plenty = checkpoint.MultiStream, true
	s := h.addStream("source-1", 2+d.below("plan", 2))
	s.kpl, s.fanOut = d.chance("plan", 0.3), d.chance("plan", 0.3)
	s.initial = start{}
	h.deployed = configuration{}
	for i := range 8 {
		name := fmt.Sprint("channel-", i+1)
		r := &receiver{name: name}
		if i < 4 {
			was := &sick{mood: pick(d, "sick", slow, failing, hanging, closed, refusing)}
			if i == 0 {
				was = &sick{mood: pick(d, "sick", failing, hanging, closed), key: fmt.Sprint("hotel-", d.below("sick", 4))}
			}
			r.wasSick = was
			if ill {
				r.sick = was
			}
		}
		h.receivers[name] = r
		h.check.starts[name] = start{}
		h.deployed[s.source] = append(h.deployed[s.source], name)
	}
	h.previous = h.deployed
	h.slots = make([]*process, 2)
	h.wants = []configuration{h.deployed, h.deployed}
	h.start(0)
	h.at(20*time.Second, func() { h.start(1) })
	h.length = 3 * time.Minute
	h.at(80*time.Second, func() { h.reshard(s, "split", h.split) })
	h.at(120*time.Second, func() { h.reshard(s, "merge", h.merge) })
	h.at(h.length, func() {})
	for at := 3 * time.Second; at < h.length; at += 200 * time.Millisecond {
		h.at(at, func() { h.burst(s, 12, 4) })
	}
	h.watchMemory()
}

// slowest is the longest wait of those that are well in both histories of a
// seed.
func (h *history) slowest() map[string]time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	longest := make(map[string]time.Duration)
	for _, s := range h.streams {
		for _, t := range s.truths {
			if h.receivers[t.name].wasSick != nil {
				continue
			}
			for _, waited := range t.waited {
				longest[t.name] = max(longest[t.name], waited)
			}
			// What nobody has attempted waits still.
			for key, all := range t.stream.keys {
				for _, r := range all[t.top[key]:] {
					if !t.needless(r) {
						longest[t.name] = max(longest[t.name], time.Since(r.arrival))
					}
				}
			}
		}
	}
	return longest
}
