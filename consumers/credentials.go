package consumers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

const (
	// refreshTimeout bounds one refresh, the SDK's own retries included.
	refreshTimeout = 15 * time.Second
	// refreshInitial and refreshLongest bound the back-off between failed
	// refreshes: a granted permission takes effect within a minute.
	refreshInitial = time.Second
	refreshLongest = time.Minute
	// settleTime is how long new credentials are kept although the service
	// calls them stale: a service that says so of every set must not become a
	// storm of refreshes.
	settleTime = 10 * time.Second
	// expiryMargin is when Retrieve would rather wait for new credentials,
	// before the expiry: a request is signed, sent and checked within it. It is
	// a tenth of very short lifetimes.
	expiryMargin = 5 * time.Second
	// renewalTime is when an instance or a task gets new credentials, before
	// the old ones end; until they are there it is asked often.
	renewalTime = 10 * time.Minute
	// never is when credentials that do not expire are refreshed.
	never = time.Duration(math.MaxInt64)
)

// CredentialsConfig is where credentials come from.
type CredentialsConfig struct {
	Name string // of the source, for metrics and logs
	// Provider is asked by Run, one call at a time: AssumeRole, or the SDK's.
	Provider aws.CredentialsProvider
	Clock    func() time.Duration // monotonic, runs through suspend; nil: CLOCK_BOOTTIME
	Metrics  *Metrics
	Logger   *zap.Logger
}

// Credentials are refreshed ahead of their expiry by Run, which alone asks the
// provider, and answer requests from memory. They implement
// aws.CredentialsProvider.
//
// How long they live is measured by a clock that nobody sets, and decides when
// to refresh them. When that is denied they serve to their end. When it fails
// otherwise they serve on until a service calls them stale: the end is known
// only as well as the provider's clock agrees with this host's.
type Credentials struct {
	config CredentialsConfig
	logger *zap.Logger
	below  *Credentials  // what the provider signs with, refreshed along; may be nil
	wake   chan struct{} // holds one: Run has to look again

	// mu guards the fields below; times are of the clock. current is the zero
	// value, or what the provider gave last. failure is of the last try, nil
	// after a success.
	mu       sync.Mutex
	current  aws.Credentials
	issued   time.Duration
	until    time.Duration // Retrieve gives current without waiting for a refresh
	due      time.Duration // when current is to be refreshed
	failure  *failure
	failures int
	retry    time.Duration // with failure: not before
	dropped  string        // the access key that was called stale last
	changed  chan struct{} // closed after each try
}

// NewCredentials prepares credentials; nothing is called before Run.
func NewCredentials(c CredentialsConfig) *Credentials {
	if c.Clock == nil {
		c.Clock = checkpoint.BootTime
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	c.Metrics.expiry.WithLabelValues(c.Name).Set(0)
	c.Metrics.refreshFailures.WithLabelValues(c.Name)
	return &Credentials{
		config: c, logger: c.Logger.With(zap.String("source", c.Name)),
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// Run refreshes the credentials until ctx ends. Whoever makes requests with
// them owns it. Nil credentials only wait.
func (c *Credentials) Run(ctx context.Context) error {
	if c == nil {
		<-ctx.Done()
		return nil
	}
	if c.below != nil {
		var below sync.WaitGroup
		below.Go(func() { _ = c.below.Run(ctx) }) // ends with ctx, and has no other outcome
		defer below.Wait()
	}
	for ctx.Err() == nil {
		wait := c.wait()
		if wait <= 0 {
			c.refresh(ctx)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// wait is how long Run has nothing to do.
func (c *Credentials) wait() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextLocked() - c.config.Clock()
}

func (c *Credentials) nextLocked() time.Duration {
	if c.failure != nil {
		return c.retry
	}
	return c.due
}

// Retrieve answers from memory and calls nothing: with the credentials, or with
// the last failure when there are none that serve. It waits while Run gets the first ones,
// or new ones for those that have expired.
func (c *Credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	for {
		c.mu.Lock()
		now := c.config.Clock()
		current, failure, changed := c.current, c.failure, c.changed
		expired, late := now >= c.until, now >= c.nextLocked()
		c.mu.Unlock()
		if late {
			c.wakeRun() // its timer stands still while the host is suspended
		}
		switch {
		case current.HasKeys() && (!expired || failure != nil && failure.reason != reasonDenied):
			return current, nil
		case failure != nil:
			return aws.Credentials{}, failure
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return aws.Credentials{}, fmt.Errorf("wait for the credentials of %s: %w", c.config.Name, context.Cause(ctx))
		}
	}
}

// refresh asks the provider once; the outcome is kept for Retrieve.
func (c *Credentials) refresh(ctx context.Context) {
	start, at := c.config.Clock(), time.Now()
	call, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	if cache, ok := c.config.Provider.(*aws.CredentialsCache); ok {
		cache.Invalidate() // it would answer with what it has
	}
	value, err := c.config.Provider.Retrieve(call)
	if err == nil && !value.HasKeys() {
		err = errors.New("the answer holds no credentials")
	}
	switch {
	case ctx.Err() != nil: // Run's end says nothing of the provider
	case err != nil:
		c.refused(err)
	default:
		c.granted(start, at, value)
	}
}

func (c *Credentials) refused(err error) {
	var f *failure
	if !errors.As(err, &f) {
		f = failed("get credentials from the default chain (environment, AWS_PROFILE, web identity, container, instance)", err)
	}
	c.config.Metrics.refreshFailures.WithLabelValues(c.config.Name).Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
	if c.failure == nil || c.failure.Error() != f.Error() {
		fields := []zap.Field{zap.Error(f), zap.Int("failures", c.failures)}
		if c.current.HasKeys() {
			c.logger.Warn("credentials not refreshed: the old ones serve until they expire", append(fields, zap.Time("expires", c.current.Expires))...)
		} else {
			c.logger.Error("no credentials: the source waits", fields...)
		}
	}
	c.failure = f
	c.retry = c.config.Clock() + backoff(c.failures, refreshInitial, refreshLongest)
	c.announceLocked()
}

// granted keeps what the provider was asked for at start, which was at by the
// host's wall clock.
func (c *Credentials) granted(start time.Duration, at time.Time, value aws.Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures > 0 {
		c.logger.Info("credentials refreshed after failures", zap.Int("failures", c.failures))
	}
	c.until, c.due = never, never
	expiry := math.Inf(1)
	if value.CanExpire {
		lifetime := value.Expires.Sub(at)
		if lifetime <= 0 {
			// Fresh from the provider and past their expiry: one of the clocks
			// is wrong. The service knows; ask again at the slowest pace.
			if c.current.AccessKeyID != value.AccessKeyID {
				c.logger.Warn("credentials came expired: see whether this host's clock is right", zap.Time("expires", value.Expires))
			}
			lifetime = refreshLongest
		}
		c.until = start + lifetime - min(expiryMargin, lifetime/10)
		c.due = start + refreshAfter(lifetime)
		if c.current.AccessKeyID == value.AccessKeyID && lifetime < renewalTime {
			c.due = start + min(refreshAfter(lifetime), refreshLongest)
		}
		expiry = float64(value.Expires.UnixMilli()) / 1000
	}
	c.current, c.issued = value, start
	c.failure, c.failures = nil, 0
	c.config.Metrics.expiry.WithLabelValues(c.config.Name).Set(expiry)
	c.announceLocked()
}

func (c *Credentials) announceLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// refreshAfter is when credentials of a lifetime are refreshed: after half to
// two thirds of it, so that a third is left for failures, and the roles of many
// sources, assumed in one second at start, spread.
func refreshAfter(lifetime time.Duration) time.Duration {
	return max(refreshInitial, lifetime/2+rand.N(lifetime/6+1))
}

// Signs makes the clients of a configuration sign with c, and tell it when a
// service calls its credentials stale.
func (c *Credentials) Signs(config *aws.Config) {
	config.Credentials = c
	listen := middleware.DeserializeMiddlewareFunc(fmt.Sprintf("Shardline credentials %p", c), func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if err != nil && failed("", err).stale() {
			c.expire(accessKey(in.Request))
		}
		return out, metadata, err
	})
	config.APIOptions = append(slices.Clip(config.APIOptions), func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(listen, middleware.Before)
	})
}

// accessKey is the one that a request is signed with.
func accessKey(request any) string {
	r, ok := request.(*smithyhttp.Request)
	if !ok {
		return ""
	}
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(scope, "/")
	return key
}

// expire drops the credentials of an access key that a service called stale,
// unless there are others by now, or they are only just there.
func (c *Credentials) expire(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.config.Clock()
	if !c.current.HasKeys() || c.current.AccessKeyID != key || now-c.issued < settleTime {
		return
	}
	if c.dropped != key { // else the provider has no others
		c.logger.Warn("credentials dropped: the service no longer takes them")
		c.dropped = key
	}
	c.current, c.due = aws.Credentials{}, now
	c.config.Metrics.expiry.WithLabelValues(c.config.Name).Set(0)
	c.wakeRun()
}

func (c *Credentials) wakeRun() {
	select {
	case c.wake <- struct{}{}:
	default: // Run has yet to take the last one
	}
}

// String names the source; never a key.
func (c *Credentials) String() string { return "credentials of " + c.config.Name }
