package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline/deliver"
)

// envCrash names the point at which the worker process ends itself as kill -9
// would: POINT:N is the Nth time that it gets there.
const envCrash = "SHARDLINE_TEST_CRASH"

// The crash points, each between two lines of the way from a delivery to its
// saved position.
const (
	beforeAttempt        = "before-attempt"
	afterAnswer          = "after-answer-before-settle"
	beforeDeadLetter     = "before-dead-letter"
	afterDeadLetter      = "after-dead-letter-before-settle"
	beforeSave           = "before-save"
	afterSave            = "after-save"
	beforeRosterSave     = "before-roster-save"
	afterRosterSave      = "after-roster-save"
	afterTake            = "after-take"
	beforeCreateChildren = "before-create-children"
	afterCreateChildren  = "after-create-children"
	beforeShardEnd       = "before-shard-end"
	afterShardEnd        = "after-shard-end"
	beforeRelease        = "before-release"
	afterRelease         = "after-release"
)

// crashing is printed by a process that ends itself, so that a test can tell
// it from any other end.
const crashing = "crashing at "

// crash ends the process at one point.
type crash struct {
	point string

	mu   sync.Mutex
	left int // how often the point is still passed
}

// crashHooks are the hooks of a worker that crashes as spec says; nil without.
func crashHooks(spec string) *hooks {
	if spec == "" {
		return nil
	}
	point, times, _ := strings.Cut(spec, ":")
	n, err := strconv.Atoi(times)
	if err != nil || n < 1 {
		panic(fmt.Sprintf("%s=%s: not POINT:N", envCrash, spec))
	}
	c := &crash{point: point, left: n}
	return &hooks{
		wrapStore:     func(s checkpoint.Store) checkpoint.Store { return &crashStore{s, c} },
		wrapLetters:   func(l deliver.DeadLetters) deliver.DeadLetters { return &crashLetters{l, c} },
		wrapTransport: func(t deliver.Transport) deliver.Transport { return &crashTransport{t, c} },
	}
}

// at ends the process if this is the point and the time.
func (c *crash) at(point string) {
	if point != c.point {
		return
	}
	c.mu.Lock() // held to the end: nobody else passes the point
	if c.left--; c.left > 0 {
		c.mu.Unlock()
		return
	}
	fmt.Fprintln(os.Stderr, crashing+point)
	syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // it cannot fail
	select {}
}

type crashTransport struct {
	deliver.Transport
	crash *crash
}

func (t *crashTransport) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	t.crash.at(beforeAttempt)
	answer := t.Transport.Send(ctx, m)
	t.crash.at(afterAnswer)
	return answer
}

type crashLetters struct {
	deliver.DeadLetters
	crash *crash
}

func (l *crashLetters) Put(ctx context.Context, letter deliver.DeadLetter) error {
	l.crash.at(beforeDeadLetter)
	err := l.DeadLetters.Put(ctx, letter)
	if err == nil {
		l.crash.at(afterDeadLetter)
	}
	return err
}

type crashStore struct {
	checkpoint.Store
	crash *crash
}

func (s *crashStore) Take(ctx context.Context, seen checkpoint.Lease, owner, tenure string) (checkpoint.Lease, error) {
	l, err := s.Store.Take(ctx, seen, owner, tenure)
	if err == nil {
		s.crash.at(afterTake)
	}
	return l, err
}

func (s *crashStore) Renew(ctx context.Context, held checkpoint.Lease, save *checkpoint.Saved) (checkpoint.Lease, error) {
	if save == nil {
		return s.Store.Renew(ctx, held, save)
	}
	ends := save.Checkpoint == checkpoint.ShardEnd
	roster := !slices.Equal(save.Roster, held.Roster)
	switch {
	case ends:
		s.crash.at(beforeShardEnd)
	case roster:
		s.crash.at(beforeRosterSave)
	default:
		s.crash.at(beforeSave)
	}
	l, err := s.Store.Renew(ctx, held, save)
	switch {
	case err != nil:
	case ends:
		s.crash.at(afterShardEnd)
	case roster:
		s.crash.at(afterRosterSave)
	default:
		s.crash.at(afterSave)
	}
	return l, err
}

func (s *crashStore) Create(ctx context.Context, l checkpoint.Lease) error {
	if len(l.Parents) > 0 {
		s.crash.at(beforeCreateChildren)
	}
	return s.Store.Create(ctx, l)
}

func (s *crashStore) SetChildren(ctx context.Context, held checkpoint.Lease, children []string) error {
	err := s.Store.SetChildren(ctx, held, children)
	if err == nil {
		s.crash.at(afterCreateChildren)
	}
	return err
}

func (s *crashStore) Release(ctx context.Context, held checkpoint.Lease, save *checkpoint.Saved) error {
	s.crash.at(beforeRelease)
	err := s.Store.Release(ctx, held, save)
	if err == nil {
		s.crash.at(afterRelease)
	}
	return err
}
