package demo

import (
	"slices"
	"time"
)

// Result is what the checker found for one destination.
type Result struct {
	Destination  string
	Behaviour    string
	Acknowledged int // by Kinesis to the producer
	Delivered    int // different messages that the receiver accepted
	DeadLettered int // different messages that stand in the dead letters and were not accepted
	Lost         int // neither
	OutOfOrder   int // attempts that a key's order forbids
	Duplicates   int // accepted again
	Foreign      int // bodies that nobody produced: changed on the way
	PerSecond    float64
	P50, P99     time.Duration // from acknowledged by Kinesis to accepted
}

// OK says that nothing was lost, reordered or changed.
func (r Result) OK() bool { return r.Lost == 0 && r.OutOfOrder == 0 && r.Foreign == 0 }

// Check compares the attempts that one receiver logged with the ledger.
// deadLetters are the messages that were dead-lettered for it.
//
// The order of a key is kept when every attempt is for the message after the
// one settled last, or a step back: and after a step back everything follows
// again, one by one. A message is settled by being accepted, or by an answer
// that sent it to the dead letters.
func Check(l *Ledger, r *Receiver, deadLetters map[Digest]bool) Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	attempts := r.Attempts()
	res := Result{Destination: r.Name, Behaviour: r.Behaviour, Acknowledged: len(l.messages)}
	settled := make(map[string]int) // per key: how many of its messages are settled, as of the last attempt
	accepted := make(map[Digest]bool)
	var latencies []time.Duration
	for _, a := range attempts {
		m := l.messages[a.Digest]
		if m == nil {
			res.Foreign++
			continue
		}
		if m.index > settled[m.key] {
			res.OutOfOrder++
		}
		settled[m.key] = m.index
		if a.Accepted || deadLetters[a.Digest] {
			settled[m.key] = m.index + 1
		}
		if !a.Accepted {
			continue
		}
		if accepted[a.Digest] {
			res.Duplicates++
			continue
		}
		accepted[a.Digest] = true
		latencies = append(latencies, a.Time.Sub(m.acked))
	}
	res.Delivered = len(accepted)
	stuck := make(map[string]bool) // keys whose last step back was not followed by everything
	for d, m := range l.messages {
		if accepted[d] && m.index >= settled[m.key] && !stuck[m.key] {
			stuck[m.key] = true
			res.OutOfOrder++
		}
		switch {
		case accepted[d]:
		case deadLetters[d]:
			res.DeadLettered++
		default:
			res.Lost++
		}
	}
	if n := len(attempts); n > 1 {
		if span := attempts[n-1].Time.Sub(attempts[0].Time).Seconds(); span > 0 {
			res.PerSecond = float64(res.Delivered) / span
		}
	}
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		res.P50, res.P99 = latencies[n/2], latencies[min(n-1, n*99/100)]
	}
	return res
}
