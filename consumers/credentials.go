package consumers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	"go.uber.org/zap"
)

const (
	// DefaultDuration is how long assumed credentials live unless the role
	// says otherwise: the shortest that the service grants.
	DefaultDuration = 15 * time.Minute

	// assumeTimeout bounds one AssumeRole, the SDK's own retries included.
	assumeTimeout = 15 * time.Second
	// refreshInitial and refreshLongest bound the back-off between failed
	// refreshes: a granted permission takes effect within a minute.
	refreshInitial = time.Second
	refreshLongest = time.Minute
	// settleTime is how long new credentials are kept although the service
	// calls them stale: a service that says so of every set, and all shards of
	// a source asking at once, must not become a storm of AssumeRole calls.
	settleTime = 10 * time.Second
	// expiryMargin is when credentials no longer serve, before their expiry: a
	// request is signed, sent and checked within it. It is a tenth of very
	// short lifetimes.
	expiryMargin = 5 * time.Second
)

// Role is what to assume.
type Role struct {
	ARN         string
	ExternalID  string
	SessionName string        // empty: the application's name
	Duration    time.Duration // 0: DefaultDuration; at most 1 h when the base credentials are a role's
}

// STS is the call that Credentials make; *sts.Client has it.
type STS interface {
	AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, options ...func(*sts.Options)) (*sts.AssumeRoleOutput, error)
}

// CredentialsConfig is a role, and the way to assume it.
type CredentialsConfig struct {
	Name        string // of the source, for metrics and logs
	Role        Role
	Application string
	STS         STS
	Base        aws.CredentialsProvider // what STS signs with: told when the service calls it stale; may be nil
	Metrics     *Metrics
	Logger      *zap.Logger
}

// Credentials are those of one assumed role. They implement
// aws.CredentialsProvider. Run refreshes them ahead of their expiry; Retrieve
// calls the service only when there are none that have not expired.
type Credentials struct {
	config CredentialsConfig
	input  sts.AssumeRoleInput
	logger *zap.Logger

	turn chan struct{} // holds one token: whoever has it may call the service
	wake chan struct{} // holds one: Run has to look again

	// mu guards the fields below. current is the zero value, or what the
	// service issued last. failure is of the last try, nil after a success.
	mu       sync.Mutex
	current  aws.Credentials // its Expires is by this host's wall clock
	issued   time.Time
	until    time.Time // current serves
	due      time.Time // when current is to be refreshed
	failure  error
	failures int
	retry    time.Time // with failure: not before
}

// NewCredentials prepares credentials; nothing is called before Run or Retrieve.
func NewCredentials(c CredentialsConfig) *Credentials {
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Role.Duration == 0 {
		c.Role.Duration = DefaultDuration
	}
	name := c.Role.SessionName
	if name == "" {
		name = c.Application
	}
	credentials := &Credentials{
		config: c,
		logger: c.Logger.With(zap.String("source", c.Name), zap.String("role", c.Role.ARN)),
		input: sts.AssumeRoleInput{
			RoleArn:         aws.String(c.Role.ARN),
			RoleSessionName: aws.String(sessionName(name)),
			DurationSeconds: aws.Int32(int32(c.Role.Duration / time.Second)),
		},
		turn: make(chan struct{}, 1),
		wake: make(chan struct{}, 1),
	}
	if c.Role.ExternalID != "" {
		credentials.input.ExternalId = aws.String(c.Role.ExternalID)
	}
	c.Metrics.expiry.WithLabelValues(c.Name).Set(0)
	c.Metrics.refreshFailures.WithLabelValues(c.Name)
	return credentials
}

// sessionName makes a name that the service takes: 2 to 64 letters, digits or
// characters of +=,.@_- .
func sessionName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("+=,.@_-", r):
			return r
		}
		return '-'
	}, name)
	if len(name) < 2 {
		name = "shardline" + name
	}
	return name[:min(len(name), 64)]
}

// Run refreshes the credentials until ctx ends. Whoever runs the source owns
// it. Nil credentials only wait.
func (c *Credentials) Run(ctx context.Context) error {
	if c == nil {
		<-ctx.Done()
		return nil
	}
	for {
		timer := time.NewTimer(time.Until(c.next()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.wake:
			timer.Stop()
			continue // with the new time
		case <-timer.C:
		}
		// The outcome is kept for Retrieve, counted and logged by refresh.
		_, _ = c.refresh(ctx, func() bool { return time.Now().Before(c.nextLocked()) })
	}
}

// next is when Run has to refresh.
func (c *Credentials) next() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextLocked()
}

func (c *Credentials) nextLocked() time.Time {
	if c.failure != nil {
		return c.retry
	}
	return c.due
}

// Retrieve returns the credentials. Unless they have expired it is at once,
// from memory.
func (c *Credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c.mu.Lock()
	current, usable := c.current, c.usableLocked()
	c.mu.Unlock()
	if usable {
		return current, nil
	}
	return c.refresh(ctx, func() bool {
		return c.usableLocked() || c.failure != nil && time.Now().Before(c.retry)
	})
}

func (c *Credentials) usableLocked() bool {
	return c.current.HasKeys() && now().Before(c.until)
}

// refresh assumes the role, unless enough, called with mu held, says that
// another one just did or failed to.
func (c *Credentials) refresh(ctx context.Context, enough func() bool) (aws.Credentials, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return aws.Credentials{}, ctx.Err()
	}
	c.mu.Lock()
	if enough() {
		defer c.mu.Unlock()
		if c.usableLocked() {
			return c.current, nil
		}
		return aws.Credentials{}, c.failure
	}
	c.mu.Unlock()

	start := now()
	call, cancel := context.WithTimeout(ctx, assumeTimeout)
	defer cancel()
	out, err := c.config.STS.AssumeRole(call, &c.input)
	if err == nil && (out.Credentials == nil || out.Credentials.AccessKeyId == nil || out.Credentials.SecretAccessKey == nil ||
		out.Credentials.SessionToken == nil || out.Credentials.Expiration == nil) {
		err = errors.New("the answer holds no credentials")
	}
	if err != nil {
		if ctx.Err() != nil { // the caller's end says nothing of the role
			return aws.Credentials{}, ctx.Err()
		}
		return aws.Credentials{}, c.refused(start, err)
	}
	return c.granted(start, out), nil
}

func (c *Credentials) refused(start time.Time, err error) error {
	f := failed("assume role "+c.config.Role.ARN, err)
	if f.reason == reasonArgument && c.config.Role.Duration > time.Hour {
		f.text += " (credentials of a role can assume another one for 1 h at most: see the role's duration)"
	}
	if f.stale() {
		invalidate(c.config.Base, start)
	}
	c.config.Metrics.refreshFailures.WithLabelValues(c.config.Name).Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
	if c.failure == nil || c.failure.Error() != f.Error() {
		fields := []zap.Field{zap.Error(f), zap.Int("failures", c.failures)}
		if c.usableLocked() {
			c.logger.Warn("credentials not refreshed: the old ones serve until they expire", append(fields, zap.Time("expires", c.current.Expires))...)
		} else {
			c.logger.Error("no credentials: the source waits", fields...)
		}
	}
	c.failure = f
	c.retry = time.Now().Add(backoff(c.failures, refreshInitial, refreshLongest))
	return f
}

func (c *Credentials) granted(start time.Time, out *sts.AssumeRoleOutput) aws.Credentials {
	// The service's expiry is by the service's clock. Its own date in the same
	// answer makes it a lifetime, which this host's clock can measure.
	lifetime := out.Credentials.Expiration.Sub(serverTime(out.ResultMetadata, start))
	value := aws.Credentials{
		AccessKeyID:     *out.Credentials.AccessKeyId,
		SecretAccessKey: *out.Credentials.SecretAccessKey,
		SessionToken:    *out.Credentials.SessionToken,
		Source:          "shardline",
		CanExpire:       true,
		Expires:         start.Add(lifetime),
	}
	if user := out.AssumedRoleUser; user != nil {
		if parts := strings.SplitN(aws.ToString(user.Arn), ":", 6); len(parts) == 6 {
			value.AccountID = parts[4]
		}
	}
	c.mu.Lock()
	if c.failures > 0 {
		c.logger.Info("credentials refreshed after failures", zap.Int("failures", c.failures))
	}
	c.current, c.issued = value, start
	c.until = value.Expires.Add(-min(expiryMargin, lifetime/10))
	c.due = start.Add(refreshAfter(lifetime))
	c.failure, c.failures = nil, 0
	c.mu.Unlock()
	c.config.Metrics.expiry.WithLabelValues(c.config.Name).Set(float64(value.Expires.UnixMilli()) / 1000)
	c.wakeRun()
	return value
}

// refreshAfter is when credentials of a lifetime are refreshed: after half to
// two thirds of it, so that a third is left for failures, and the roles of many
// sources, assumed in one second at start, spread.
func refreshAfter(lifetime time.Duration) time.Duration {
	if lifetime <= 0 {
		return refreshInitial
	}
	return max(refreshInitial, lifetime/2+rand.N(lifetime/6+1))
}

// expire drops credentials that the service called stale in the answer to a
// request that began at start, unless they were issued since, or only just.
func (c *Credentials) expire(start time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.current.HasKeys() || start.Sub(c.issued) < settleTime {
		return
	}
	c.logger.Warn("credentials dropped: the service no longer takes them")
	c.current, c.due = aws.Credentials{}, time.Time{}
	c.config.Metrics.expiry.WithLabelValues(c.config.Name).Set(0)
	c.wakeRun()
}

func (c *Credentials) wakeRun() {
	select {
	case c.wake <- struct{}{}:
	default: // Run has yet to take the last one
	}
}

// invalidate tells a provider that the service called its credentials stale in
// the answer to a request that began at start.
func invalidate(provider aws.CredentialsProvider, start time.Time) {
	switch p := provider.(type) {
	case *Credentials:
		p.expire(start)
	case *aws.CredentialsCache:
		p.Invalidate()
	}
}

// now is the wall clock's time: it runs through suspend, as credentials expire
// through it.
func now() time.Time { return time.Now().Round(0) }

// serverTime is the service's own date in an answer, or otherwise.
func serverTime(metadata middleware.Metadata, otherwise time.Time) time.Time {
	if t, ok := awsmiddleware.GetServerTime(metadata); ok && !t.IsZero() {
		return t
	}
	return otherwise
}

// String names the role; never a key.
func (c *Credentials) String() string {
	return fmt.Sprintf("credentials of role %s", c.config.Role.ARN)
}
