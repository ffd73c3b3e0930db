package deliver

import (
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

// heldKey is why a key of a shard is held by its own: a record of it has used up
// its retries, and waits until somebody releases it. It outlives the key's lane,
// which may be dropped and made again.
type heldKey struct {
	since  time.Time
	reason Reason
	status int
	detail string
}

const (
	// maxHeldKeys bounds the keys that are held in one shard. More are no matter
	// of keys: the next one holds the destination.
	maxHeldKeys = 10_000
	// maxHeldShown is how many of them State shows.
	maxHeldShown = 20
)

// keyHeld says whether no attempt of a lane's key may start. d.mu is held.
func (d *Destination) keyHeld(l *lane) bool {
	return d.orders.keys[l.key] || l.of.held[l.key] != nil
}

// holdKey holds a lane's key. d.mu is held.
func (d *Destination) holdKey(l *lane, reason Reason, a Answer, now time.Time) {
	l.place = held
	if l.of.held == nil {
		l.of.held = make(map[string]*heldKey)
	}
	detail := a.Detail
	if reason != a.Reason {
		detail = detailOf(a)
	}
	l.of.held[l.key] = &heldKey{since: now, reason: reason, status: a.Status, detail: detail}
	d.log.keyHeld(d, l, reason, a, now)
	l.of.signal()
}

// freeKeys puts lanes back to the others whose keys are held no more. d.mu is
// held.
func (d *Destination) freeKeys() {
	for _, a := range d.attached {
		for _, l := range a.lanes {
			if l.place == held && !d.keyHeld(l) {
				d.enter(l)
			}
		}
	}
}

// releaseKeys ends what the destination holds by itself of a key; empty: of all.
// d.mu is held.
func (d *Destination) releaseKeys(key string, now time.Time) {
	for _, a := range d.attached {
		for k := range a.held {
			if key != "" && k != key {
				continue
			}
			delete(a.held, k)
			if l := a.lanes[k]; l != nil && l.place == held {
				d.forgive(l, now)
			}
		}
	}
	d.freeKeys()
}

// HeldKey is a key that is held by its own, and what the receiver last said.
type HeldKey struct {
	Key, Source, Shard string
	Since              time.Time
	Reason             string
	Status             int    // of HTTP; 0: there was none
	Detail             string // in words, one line
}

// heldKeys is how many keys are held by their own, and those for longest. d.mu
// is held.
func (d *Destination) heldKeys() (int, []HeldKey) {
	var keys []HeldKey
	for _, a := range d.attached {
		for key, h := range a.held {
			keys = append(keys, HeldKey{Key: key, Source: a.shard.Source, Shard: a.shard.Shard,
				Since: h.since, Reason: h.reason.String(), Status: h.status, Detail: h.detail})
		}
	}
	slices.SortFunc(keys, func(a, b HeldKey) int { return a.Since.Compare(b.Since) })
	return len(keys), keys[:min(len(keys), maxHeldShown)]
}

// detailOf is an answer in words when it is the last of several.
func detailOf(a Answer) string {
	if a.Detail == "" {
		return a.Reason.String()
	}
	return a.Reason.String() + ": " + a.Detail
}

// keyHeld logs the first key that is held, and from then on a line a minute.
func (c *changes) keyHeld(d *Destination, l *lane, reason Reason, a Answer, now time.Time) {
	c.keys++
	if !c.keysAt.IsZero() && now.Sub(c.keysAt) < linesEvery {
		return
	}
	d.logger.Error("keys held: their records wait until somebody releases them, other keys go on",
		zap.Int("keys", c.keys), zap.String("key", printable(fmt.Sprintf("%q", l.key))), zap.String("source", l.of.shard.Source),
		zap.String("shard", l.of.shard.Shard), zap.Stringer("reason", reason), zap.Int("status", a.Status), zap.Int("attempts", l.attempts),
		zap.String("to_do", "repair the receiver or the record's data there, then: shardline destinations release"))
	c.keys, c.keysAt = 0, now
}
