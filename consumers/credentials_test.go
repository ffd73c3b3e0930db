package consumers_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

const roleARN = "arn:aws:iam::111111111111:role/shardline-reader"

// fakeSTS issues credentials numbered from 1, or fails.
type fakeSTS struct {
	mu     sync.Mutex // guards all
	issued int
	calls  []time.Time
	err    error
	hang   bool
	input  sts.AssumeRoleInput
}

func (s *fakeSTS) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *fakeSTS) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

func (s *fakeSTS) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, _ ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, time.Now())
	s.input = *in
	if s.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	s.issued++
	return &sts.AssumeRoleOutput{
		AssumedRoleUser: &types.AssumedRoleUser{Arn: aws.String("arn:aws:sts::111111111111:assumed-role/shardline-reader/x")},
		Credentials: &types.Credentials{
			AccessKeyId: aws.String("ASIA" + strings.Repeat("X", s.issued)), SecretAccessKey: aws.String("secret"), SessionToken: aws.String("token"),
			Expiration: aws.Time(time.Now().Add(time.Duration(*in.DurationSeconds) * time.Second)),
		}}, nil
}

func newCredentials(service *fakeSTS, change func(*consumers.CredentialsConfig)) *consumers.Credentials {
	config := consumers.CredentialsConfig{Name: "hotels-a", Role: consumers.Role{ARN: roleARN}, Application: "ota-fanout", STS: service}
	if change != nil {
		change(&config)
	}
	return consumers.NewCredentials(config)
}

// running runs credentials until the test is over, and waits for them.
func running(t *testing.T, c *consumers.Credentials) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	synctest.Wait()
}

func TestRoleIsAssumedAsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		c := newCredentials(service, func(c *consumers.CredentialsConfig) {
			c.Role = consumers.Role{ARN: roleARN, ExternalID: "partner-7", Duration: time.Hour}
			c.Application = "ota fan-out/é " + strings.Repeat("x", 80)
		})
		value, err := c.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if value.AccessKeyID != "ASIAX" || value.AccountID != "111111111111" || !value.Expires.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("credentials %s of account %s until %v, want ASIAX of 111111111111 for an hour", value.AccessKeyID, value.AccountID, value.Expires)
		}
		in := service.input
		if *in.RoleArn != roleARN || *in.ExternalId != "partner-7" || *in.DurationSeconds != 3600 {
			t.Errorf("assumed %s with %s for %d s", *in.RoleArn, *in.ExternalId, *in.DurationSeconds)
		}
		if name := *in.RoleSessionName; !strings.HasPrefix(name, "ota-fan-out---xxx") || len(name) != 64 {
			t.Errorf("session name %q, want 64 plain characters", name)
		}
	})
}

func TestRefreshIsAheadAndOffTheReadingPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		c := newCredentials(service, nil)
		running(t, c)
		if service.count() != 1 {
			t.Fatalf("%d calls at the start, want 1", service.count())
		}
		for range 60 * 12 { // twelve hours, a read a minute
			before := service.count()
			value, err := c.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if service.count() != before {
				t.Fatal("Retrieve called the service although there were credentials")
			}
			if left := time.Until(value.Expires); left < 4*time.Minute {
				t.Fatalf("credentials with %v left", left)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		// Refreshed after 7.5 to 10 min, 12 h take 72 to 96 of them.
		if n := service.count(); n < 72 || n > 97 {
			t.Errorf("%d refreshes in twelve hours, want 72 to 97", n)
		}
	})
}

func TestOldCredentialsServeWhileRefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		reg := prometheus.NewRegistry()
		c := newCredentials(service, func(c *consumers.CredentialsConfig) { c.Metrics = consumers.NewMetrics(reg) })
		running(t, c)
		service.fail(&smithy.GenericAPIError{Code: "AccessDenied", Message: "not authorized to perform: sts:AssumeRole"})
		time.Sleep(14*time.Minute + 50*time.Second)
		if value, err := c.Retrieve(t.Context()); err != nil || value.AccessKeyID != "ASIAX" {
			t.Fatalf("before the expiry: %s, %v, want the old credentials", value.AccessKeyID, err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_, err := c.Retrieve(t.Context())
		if !errors.Is(err, pipeline.ErrDenied) || !strings.Contains(err.Error(), roleARN) || !strings.Contains(err.Error(), "sts:AssumeRole") {
			t.Fatalf("after the expiry: %v, want ErrDenied with the role and the service's words", err)
		}
		if metric(t, reg, "shardline_consumers_credentials_refresh_failures_total") < 5 {
			t.Error("failures not counted")
		}
		// Readers that ask all the time do not make more calls: the back-off
		// is 30 to 60 s by now.
		before := service.count()
		for range 100 {
			_, _ = c.Retrieve(t.Context())
			time.Sleep(100 * time.Millisecond)
		}
		if n := service.count() - before; n > 1 {
			t.Errorf("%d calls within 10 s of failing, want one at most", n)
		}
		service.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := c.Retrieve(t.Context()); err != nil {
			t.Errorf("after the repair: %v", err)
		}
		if got := metric(t, reg, "shardline_consumers_credentials_expiry_timestamp_seconds"); got < float64(time.Now().Unix()) {
			t.Errorf("expiry %v is not in the future", got)
		}
	})
}

func TestStaleAnswerBringsNewCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		c := newCredentials(service, nil)
		running(t, c)
		s := newFakeStream(2)
		source := newSource(t, s, func(config *consumers.Config) { config.Base = aws.Config{Credentials: c} })
		stale := fault{err: serviceError("ExpiredTokenException", "The security token included in the request is expired")}
		r := source.Reader(checkpoint.Shard{ID: shard0}, horizon)
		time.Sleep(time.Minute)
		s.faults["GetRecords"] = []fault{stale}
		if _, err := step(t, r); !errors.Is(err, pipeline.ErrDenied) {
			t.Fatalf("error %v, want ErrDenied", err)
		}
		synctest.Wait()
		if value, err := c.Retrieve(t.Context()); err != nil || value.AccessKeyID != "ASIAXX" {
			t.Fatalf("got %s, %v, want the second credentials", value.AccessKeyID, err)
		}
		// All shards of the source say the same at once, of the old ones or
		// of the new: that is no reason for more.
		for range 50 {
			s.faults["GetShardIterator"] = []fault{stale}
			_, _ = source.Reader(checkpoint.Shard{ID: shard0}, horizon).Read(t.Context())
		}
		synctest.Wait()
		if n := service.count(); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
		if got := read(t, r, 1); len(got) != 2 {
			t.Errorf("read %v, want two records", got)
		}
	})
}

func TestRetrieveWithoutRunAssumesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		c := newCredentials(service, nil)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := c.Retrieve(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := service.count(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestHangingServiceEndsWithTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCredentials(&fakeSTS{hang: true}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Retrieve(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the caller's deadline", err)
		}
		start := time.Now()
		if _, err := c.Retrieve(t.Context()); err == nil || time.Since(start) != 15*time.Second {
			t.Errorf("error %v after %v, want a time-out after 15 s", err, time.Since(start))
		}
	})
}

func TestChainingLimitIsExplained(t *testing.T) {
	service := &fakeSTS{err: &smithy.GenericAPIError{Code: "ValidationError", Message: "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"}}
	c := newCredentials(service, func(c *consumers.CredentialsConfig) { c.Role.Duration = 12 * time.Hour })
	if _, err := c.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "1 h at most") {
		t.Errorf("error %v, want the limit of 1 h", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c := newCredentials(&fakeSTS{}, func(c *consumers.CredentialsConfig) { c.Role.ExternalID = "partner-7" })
	if _, err := c.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := c.String(); strings.Contains(text, "secret") || strings.Contains(text, "token") || strings.Contains(text, "partner-7") {
		t.Errorf("printed as %q", text)
	}
}
