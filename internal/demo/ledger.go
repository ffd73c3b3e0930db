package demo

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Digest identifies a message by its bytes.
type Digest [sha256.Size]byte

// Ledger is what Kinesis acknowledged, per stream and key in order.
type Ledger struct {
	mu       sync.Mutex
	messages map[Digest]*message
	keys     map[string]int // messages per key so far
	twice    int            // acknowledged again with the same bytes
}

// message is one that Kinesis acknowledged.
type message struct {
	key   string
	index int // among its key's, from 0
	acked time.Time
}

// NewLedger is empty.
func NewLedger() *Ledger {
	return &Ledger{messages: make(map[Digest]*message), keys: make(map[string]int)}
}

// Acknowledge notes a message in the order in which its key's messages were
// acknowledged.
func (l *Ledger) Acknowledge(key string, body []byte, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := Digest(sha256.Sum256(body))
	if _, ok := l.messages[d]; ok {
		l.twice++
		return
	}
	l.messages[d] = &message{key: key, index: l.keys[key], acked: now}
	l.keys[key]++
}

// Count is how many messages were acknowledged.
func (l *Ledger) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.messages)
}
