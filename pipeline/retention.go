package pipeline

import (
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// retention is what the descriptions of a source's stream say of how long it
// keeps a record. The discovery asks about once a minute, and whoever begins to
// read: there is no call for it alone.
type retention struct {
	created time.Time     // of the stream
	kept    time.Duration // as last described; 0: not known
	at      time.Time     // when that was, by the service's clock
	// horizon: what arrived before it may have been trimmed. It never goes back:
	// a longer retention brings nothing back. Zero: not known.
	horizon time.Time
}

// learn notes what a description says.
func (r *retention) learn(stream Stream) {
	if stream.Retention <= 0 || stream.At.IsZero() {
		return
	}
	if !r.created.Equal(stream.Created) {
		*r = retention{created: stream.Created}
	}
	r.kept, r.at = stream.Retention, stream.At
	if horizon := stream.At.Add(-stream.Retention); horizon.After(r.horizon) {
		r.horizon = horizon
	}
}

// retention is what is known of it now.
func (s *source) retention() retention {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keeps
}

// since is i as it is to be saved. A time of which the stream keeps nothing any
// more asks for all that there is: the oldest record. So a time that is saved
// was within the retention, and what came after it and was trimmed is a loss.
func (r retention) since(i Initial) Initial {
	if i.time.Before(r.horizon) {
		i.time = time.Time{}
	}
	return i
}

// unproven are the places of a plan's subscribers at which the reader does not
// see by itself what the stream trimmed: times, and the records of some while
// others begin at the oldest one. The first record of the reading tells.
type unproven struct {
	all     []checkpoint.Position // of everybody
	places  []checkpoint.Position
	through time.Time // what arrived before it has been read
	horizon time.Time // as it was when the reading began, the last time; zero: not known
}

// newUnproven makes the places of those who are read for from a position on.
func newUnproven(from checkpoint.Position, places []checkpoint.Position) *unproven {
	u := &unproven{all: places}
	if !from.IsNumber() { // else the reader sees it
		u.places = places
	}
	return u
}

// gap looks at a batch before anything is appended, and returns the gap before
// its first record: one for all of them, from the first place on.
func (u *unproven) gap(b Batch, s *source) *Gap {
	if len(u.places) == 0 {
		return nil
	}
	r := s.retention()
	if !b.Continues && r.horizon.After(u.through) {
		u.horizon = r.horizon
	}
	if len(b.Records) == 0 && !b.End {
		if b.Tip {
			u.through = r.at
		}
		return nil
	}
	places := u.places
	u.places = nil
	var g *Gap
	for _, at := range places {
		if u.lost(at, b) && (g == nil || at.Compare(g.From) < 0) {
			g = &Gap{From: at}
		}
	}
	if g != nil && len(b.Records) > 0 {
		g.To, g.Until = b.Records[0].Position, b.Records[0].Arrival
	}
	return g
}

// lost says whether the stream may have trimmed a record behind a place before
// the first one of a batch.
func (u *unproven) lost(at checkpoint.Position, b Batch) bool {
	var first Record
	if len(b.Records) > 0 {
		first = b.Records[0]
	}
	t, timed := at.Time()
	switch {
	case timed && !first.Arrival.IsZero() && first.Arrival.Before(t):
		return false // what is left begins before it
	case timed:
		return t.Before(u.horizon)
	case at.IsNumber() && first.Position.IsNumber():
		return checkpoint.Number(first.Position.Sequence, at.Sub).Compare(at) > 0
	}
	return at.IsNumber()
}
