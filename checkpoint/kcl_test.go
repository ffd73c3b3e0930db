package checkpoint_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// kcl is a worker of the Kinesis Client Library, as far as its leases go: it
// scans, takes, steals and renews as 2.x does, by the table alone.
type kcl struct {
	id    string
	table *checkpoint.Memory
	f     *fleet
	rnd   *rand.Rand
	stop  context.CancelFunc
	done  chan struct{}

	mu    sync.Mutex
	held  map[string]kclLease
	seen  map[string]kclSight
	drops map[string]time.Duration // when it noticed that it had lost a lease
}

type kclLease struct {
	counter int64
	renewed time.Duration
}

type kclSight struct {
	counter int64
	at      time.Duration
}

const epsilon = 25 * time.Millisecond

// addKCL starts one; it first scans after wait.
func (f *fleet) addKCL(id string, wait time.Duration) *kcl {
	ctx, cancel := context.WithCancel(context.Background())
	k := &kcl{id: id, table: f.table.Client(), f: f, rnd: rand.New(rand.NewPCG(7, uint64(len(f.kcls)))), stop: cancel,
		done: make(chan struct{}), held: map[string]kclLease{}, seen: map[string]kclSight{}, drops: map[string]time.Duration{}}
	f.mu.Lock()
	f.kcls = append(f.kcls, k)
	f.mu.Unlock()
	f.wg.Go(func() {
		defer close(k.done)
		var both sync.WaitGroup
		both.Go(func() { k.every(ctx, failover/3-epsilon, failover/3-epsilon, k.renew) })
		both.Go(func() { k.every(ctx, wait, 2*(failover+epsilon), k.take) })
		both.Wait()
	})
	return k
}

func (k *kcl) every(ctx context.Context, first, then time.Duration, do func()) {
	for wait := first; ; wait = then {
		select {
		case <-time.After(wait):
			do()
		case <-ctx.Done():
			return
		}
	}
}

// kill ends it as a crash would: its leases stay, under its name.
func (k *kcl) kill() {
	k.stop()
	<-k.done
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.held)
}

// believes says whether it thinks that it holds a lease, and processes it.
func (k *kcl) believes(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.held[key]
	return ok && k.f.now()-l.renewed < failover
}

func (k *kcl) holds() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.held)
}

func (k *kcl) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, l := range k.held {
		now := k.f.now()
		if now-l.renewed > failover || !k.table.KCLWrite(key, l.counter, func(*checkpoint.Lease) {}) {
			delete(k.held, key)
			k.drops[key] = now
			continue
		}
		k.held[key] = kclLease{l.counter + 1, now}
	}
}

func (k *kcl) take() {
	leases, err := k.table.List(context.Background())
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.f.now()
	counts := map[string]int{k.id: 0}
	var available, old []checkpoint.Lease
	for _, l := range leases {
		s, known := k.seen[l.Key]
		if !known && l.Owner == "" {
			s = kclSight{l.Counter, -time.Hour}
		} else if !known || s.counter != l.Counter {
			s = kclSight{l.Counter, now}
		}
		k.seen[l.Key] = s
		if now-s.at > 3*failover {
			old = append(old, l)
		}
		if l.Owner == "" || now-s.at > failover {
			available = append(available, l)
		} else {
			counts[l.Owner]++
		}
	}
	target := 1
	if len(counts) < len(leases) {
		target = (len(leases) + len(counts) - 1) / len(counts)
	}
	need := target - counts[k.id]
	switch {
	case len(old) > 0:
		k.takeAll(old, now)
	case need <= 0:
	case len(available) > 0:
		k.rnd.Shuffle(len(available), func(i, j int) { available[i], available[j] = available[j], available[i] })
		k.takeAll(available[:min(need, len(available))], now)
	default:
		most := ""
		for owner, n := range counts {
			if owner != k.id && (most == "" || n > counts[most] || n == counts[most] && owner < most) {
				most = owner
			}
		}
		excess := min(need, counts[most]-target)
		if excess <= 0 && need > 1 && counts[most] == target {
			excess = 1
		}
		if most == "" || excess <= 0 {
			return
		}
		theirs := slices.DeleteFunc(leases, func(l checkpoint.Lease) bool { return l.Owner != most })
		i := k.rnd.IntN(len(theirs))
		k.takeAll(theirs[i:i+1], now)
	}
}

func (k *kcl) takeAll(leases []checkpoint.Lease, now time.Duration) {
	for _, l := range leases {
		if k.table.KCLWrite(l.Key, l.Counter, func(x *checkpoint.Lease) {
			if x.Owner != "" && x.Owner != k.id {
				x.Switches++
			}
			x.Owner = k.id
		}) {
			k.held[l.Key] = kclLease{l.Counter + 1, now}
			k.seen[l.Key] = kclSight{l.Counter + 1, now}
		}
	}
}
