package deliver

import (
	"fmt"
	"io"
	"time"

	"github.com/shardline/shardline/pipeline/filter"
)

// sending is how attempts are made. An attempt keeps the one it began with; Next
// puts another one in its place, as a whole.
type sending struct {
	transport   Transport
	punctual    bool // it keeps deadlines
	timeout     time.Duration
	gzip        *Gzip   // nil: bodies go out as they came
	credentials []Value // those that may be renewed

	users   int  // attempts in flight with it; guarded by the destination's mutex
	retired bool // no attempt begins with it; guarded by the destination's mutex
}

// newSending makes the transport too, when the configuration has none. The
// configuration has its defaults.
func newSending(c Config) (*sending, error) {
	s := &sending{transport: c.Transport, timeout: c.Timeout, gzip: c.Gzip}
	if s.transport == nil {
		http, err := NewHTTP(c)
		if err != nil {
			return nil, err
		}
		s.transport = http
	}
	if p, ok := s.transport.(Punctual); ok {
		s.punctual = p.KeepsDeadline()
	}
	for _, h := range c.Headers {
		s.credentials = h.Value.renewable(s.credentials)
	}
	s.credentials = c.Auth.Secret.renewable(s.credentials)
	return s, nil
}

// done ends an attempt's use of it, and says whether it has to be closed. The
// destination's mutex is held.
func (s *sending) done() bool {
	s.users--
	return s.retired && s.users == 0
}

// close closes the transport. Nobody uses it any more, and nothing depends on
// how it ends.
func (s *sending) close() {
	if c, ok := s.transport.(io.Closer); ok {
		c.Close() //nolint:errcheck // see above
	}
}

// policy is what becomes of records, guarded by the destination's mutex.
type policy struct {
	letters     DeadLetters    // nil: what would go there holds the destination
	filter      *filter.Filter // nil: everything passes
	concurrency int
	retry       RetryPolicy
	onExhausted OnExhausted
	probes      Probes
	breaker     Breaker

	rateLimit, keyRateLimit float64
	beforeTrim              time.Duration
}

func (c Config) policy() policy {
	return policy{letters: c.DeadLetters, filter: c.Filter, concurrency: c.Concurrency, retry: c.Retry.withDefaults(),
		onExhausted: c.OnExhausted, probes: c.Probes.withDefaults(), breaker: c.Breaker.withDefaults(),
		rateLimit: c.RateLimit, keyRateLimit: c.KeyRateLimit, beforeTrim: c.BeforeTrim}
}

// Next is what a destination may change to.
type Next struct {
	of      *Destination
	sending *sending
	policy  policy
}

// Prepare makes everything that another configuration of the destination needs,
// and changes nothing yet: Apply or Discard comes next. Metrics, Logger and Rand
// of the configuration are not used.
func (d *Destination) Prepare(c Config) (*Next, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Name != d.name {
		return nil, fmt.Errorf("destination %s: it cannot become %s", d.name, c.Name)
	}
	c = c.withDefaults()
	s, err := newSending(c)
	if err != nil {
		return nil, err
	}
	return &Next{of: d, sending: s, policy: c.policy()}, nil
}

// Apply makes the destination work as prepared, from the next attempt on.
// Attempts in flight end as they began, and no lane loses its place: the order
// of a key does not change. A destination that is stopped is probed at once.
func (n *Next) Apply() {
	d := n.of
	d.mu.Lock()
	old := d.sending
	d.sending, d.policy = n.sending, n.policy
	old.retired = true
	unused := old.users == 0
	d.setPace()
	switch h := &d.stop; h.cause {
	case heldByAnswer:
		h.interval, h.probeAt = d.probes.Initial, time.Now()
	case openCircuit:
		h.interval, h.probeAt = d.breaker.OpenFor, time.Now()
	}
	d.kick()
	d.mu.Unlock()
	if unused {
		old.close()
	}
}

// Discard gives back what was prepared.
func (n *Next) Discard() { n.sending.close() }
