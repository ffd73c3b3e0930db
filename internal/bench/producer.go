package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// producer puts numbered messages into a stream of the local AWS at a rate. Each
// says at its beginning which one it is: receivers need nothing else to check
// order, loss and latency.
type producer struct {
	aws  *localaws.Server
	arn  string
	keys []string
	fill []byte // what follows the stamp

	phase  atomic.Int32  // stamped on messages, to tell when they were put
	total  atomic.Int64  // put so far
	hold   atomic.Bool   // nothing is put for now
	rate   atomic.Uint64 // messages in a million seconds
	ahead  int64         // instead of a rate: so many are ahead of what behind says
	behind func() int64

	mu  sync.Mutex
	put [][]int64 // by key: when each message was put, in Unix nanoseconds
}

// stamp is the beginning of a message.
type stamp struct {
	key    int
	number int // of its key, from 0
	put    int64
	phase  int
}

const (
	stampFormat = "%08d %010d %019d %04d "
	stampSize   = 8 + 1 + 10 + 1 + 19 + 1 + 4 + 1
	keyFormat   = "hotel-%06d"
)

var errNoStamp = errors.New("a message without a stamp")

// parseStamp reads a message's first stampSize bytes.
func parseStamp(b []byte) (s stamp, err error) {
	if len(b) < stampSize {
		return s, errNoStamp
	}
	digits := func(from, n int) int64 {
		v := int64(0)
		for _, c := range b[from : from+n] {
			if c < '0' || c > '9' {
				err = errNoStamp
				return 0
			}
			v = v*10 + int64(c-'0')
		}
		return v
	}
	s = stamp{key: int(digits(0, 8)), number: int(digits(9, 10)), put: digits(20, 19), phase: int(digits(40, 4))}
	return s, err
}

func newProducer(c *cloud, keys, size int) *producer {
	p := &producer{aws: c.aws, arn: c.arn, put: make([][]int64, keys), fill: makeBodies(max(0, size-stampSize))[0]}
	for i := range keys {
		p.keys = append(p.keys, fmt.Sprintf(keyFormat, i))
	}
	return p
}

func (p *producer) setRate(perSecond float64) { p.rate.Store(uint64(perSecond * 1e6)) }

// run puts messages until ctx ends. What was late, since this process did not
// get the processor, is put at once, up to a second's worth.
func (p *producer) run(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(1, 2))
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	due, last := 0.0, time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := time.Now()
		due = min(due+now.Sub(last).Seconds()*float64(p.rate.Load())/1e6, float64(p.rate.Load())/1e6+1)
		last = now
		if p.hold.Load() {
			due = 0
			continue
		}
		if p.behind != nil {
			due = float64(p.behind() + p.ahead - p.total.Load())
		}
		for ; due >= 1; due-- {
			if err := p.one(rng.IntN(len(p.keys))); err != nil {
				return err
			}
		}
	}
}

// one puts the next message of a key. It is called by run alone.
func (p *producer) one(key int) error {
	p.mu.Lock()
	now := time.Now().UnixNano()
	number := len(p.put[key])
	p.put[key] = append(p.put[key], now)
	p.mu.Unlock()
	body := fmt.Appendf(make([]byte, 0, stampSize+len(p.fill)), stampFormat, key, number, now, p.phase.Load())
	if _, _, err := p.aws.Put(p.arn, p.keys[key], append(body, p.fill...)); err != nil {
		return err
	}
	p.total.Add(1)
	return nil
}
