package secrets

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

const (
	// freshFor is for how long a value is used before it is read again: a
	// rotation is picked up within it, and a hundred secrets cost some ten
	// cents a day.
	freshFor = time.Minute
	// retryInitial and retryLongest bound the back-off after failures.
	retryInitial = time.Second
	retryLongest = time.Minute
	// refusedPause is how often at most a secret is read because a receiver
	// refused its value, and for how long a new value may still be refused, by
	// a receiver or an attempt that has not heard of it.
	refusedPause = 10 * time.Second
	// callTimeout bounds one reading, the SDK's own retries included.
	callTimeout = 10 * time.Second
	// callsAtOnce bounds the readings in flight.
	callsAtOnce = 8
)

// API is what is called of Secrets Manager.
type API interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// Config is what a store is made of.
type Config struct {
	// Client makes the client for a region; empty: Shardline's own.
	Client  func(region string) API
	Metrics *Metrics    // nil: none
	Logger  *zap.Logger // nil: none
}

// Store keeps secrets. Its methods may be called from any goroutine.
type Store struct {
	config Config
	wake   chan struct{} // holds one: Run has to look again

	mu      sync.Mutex
	secrets map[string]*secret // by id
}

// secret is one secret of the service. Its fields are guarded by the store's
// mutex.
type secret struct {
	id       string
	client   API
	value    value
	known    bool      // value is the last that was read
	err      error     // of the last reading; nil: it succeeded, or there was none
	failures int       // in a row
	tried    time.Time // when the last reading ended; zero: there was none
	due      time.Time // when it is read again; zero: at once
	changed  time.Time // when value became another one
	refused  bool      // a receiver refused value: a reading is to come
}

var errNotRead = errors.New("not read yet")

// New makes a store that keeps nothing yet; it calls nothing before Load or
// Run.
func New(c Config) *Store {
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return &Store{config: c, wake: make(chan struct{}, 1), secrets: make(map[string]*secret)}
}

// Value is a secret's value, or one field of it, for as long as Keep does not
// drop the secret. The id is its name or ARN.
func (s *Store) Value(id, field string) *Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.secrets[id]
	if kept == nil {
		kept = &secret{id: id, client: s.config.Client(region(id))}
		s.secrets[id] = kept
		s.config.Metrics.add(id)
		s.signal()
	}
	return &Value{store: s, secret: kept, field: field}
}

// region is that of an ARN; empty for a name.
func region(id string) string {
	if parts := strings.SplitN(id, ":", 5); len(parts) == 5 && parts[0] == "arn" {
		return parts[3]
	}
	return ""
}

// Keep drops the secrets that are not named: nobody uses them any more.
func (s *Store) Keep(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.secrets {
		if !slices.Contains(ids, id) {
			delete(s.secrets, id)
			s.config.Metrics.remove(id)
		}
	}
}

// signal lets Run look again.
func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Load reads the secrets that were not read yet and returns when each has been
// tried once, with what could not be read. It takes a quarter of a minute at
// most for each callsAtOnce of them.
func (s *Store) Load(ctx context.Context) error {
	errs := s.read(ctx, func(kept *secret) bool { return kept.tried.IsZero() })
	return errors.Join(errs...)
}

// Run reads secrets again until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		now := time.Now()
		s.read(ctx, func(kept *secret) bool { return !kept.due.After(now) })
		timer := time.NewTimer(s.wait())
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// wait is how long Run has nothing to do.
func (s *Store) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := time.Now().Add(freshFor)
	for _, kept := range s.secrets {
		if kept.due.Before(next) {
			next = kept.due
		}
	}
	return time.Until(next)
}

// read reads the wanted secrets and returns when all are done.
func (s *Store) read(ctx context.Context, wanted func(*secret) bool) []error {
	var due []*secret
	s.mu.Lock()
	for _, kept := range s.secrets {
		if wanted(kept) {
			due = append(due, kept)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(due, func(a, b *secret) int { return strings.Compare(a.id, b.id) })
	errs := make([]error, len(due))
	var g errgroup.Group
	g.SetLimit(callsAtOnce)
	for i, kept := range due {
		g.Go(func() error {
			v, err := call(ctx, kept)
			if ctx.Err() != nil { // it says nothing of the service
				errs[i] = fmt.Errorf("read secret %s: %w", kept.id, context.Cause(ctx))
				return nil
			}
			errs[i] = s.note(kept, v, err)
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	return errs
}

func call(ctx context.Context, kept *secret) (value, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := kept.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(kept.id)})
	if err != nil {
		return value{}, err
	}
	if out.SecretString != nil {
		return newValue(*out.SecretString), nil
	}
	return newValue(string(out.SecretBinary)), nil
}

// note keeps the outcome of a reading, and logs when it changes something.
func (s *Store) note(kept *secret, v value, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secrets[kept.id] != kept {
		return nil // dropped meanwhile
	}
	now := time.Now()
	logger := s.config.Logger.With(zap.String("secret", kept.id))
	failed := kept.err != nil
	kept.tried, kept.refused = now, false
	s.config.Metrics.read(kept.id, err)
	if err != nil {
		kept.err = err
		kept.failures++
		kept.due = now.Add(backoff(kept.failures, retryInitial, retryLongest))
		if !failed {
			left := "nobody can use it before it is read"
			if kept.known {
				left = "the last value stays in use"
			}
			logger.Error("secret not read: trying again with back-off", zap.String("meanwhile", left), zap.Error(err))
		}
		return fmt.Errorf("read secret %s: %w", kept.id, err)
	}
	if failed {
		logger.Info("secret read again")
	}
	if kept.known && v.text != kept.value.text {
		logger.Info("secret changed: the new value is in use")
	}
	if v.text != kept.value.text {
		kept.changed = now
	}
	kept.value, kept.known, kept.err, kept.failures = v, true, nil, 0
	kept.due = now.Add(freshFor - rand.N(freshFor/10)) // so that workers spread
	return nil
}

// backoff is the pause after so many failures in a row: it doubles from initial
// to longest, and half of it is random.
func backoff(failures int, initial, longest time.Duration) time.Duration {
	d := longest
	if shift := failures - 1; shift < 16 { // beyond it is longest, whatever initial is
		d = min(longest, initial<<shift)
	}
	return d/2 + rand.N(d/2+1)
}
