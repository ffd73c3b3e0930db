package consumers_test

import (
	"context"
	"errors"
	"fmt"
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
	config := consumers.CredentialsConfig{Name: "hotels-a", Provider: consumers.AssumeRole(service, consumers.Role{ARN: roleARN}, "ota-fanout"), Clock: fakeClock()}
	if change != nil {
		change(&config)
	}
	return consumers.NewCredentials(config)
}

// fakeClock runs with the time of the bubble.
func fakeClock() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
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

// retrieve gets credentials without waiting.
func retrieve(t *testing.T, c *consumers.Credentials) (aws.Credentials, error) {
	t.Helper()
	start := time.Now()
	value, err := c.Retrieve(t.Context())
	if took := time.Since(start); took > 0 {
		t.Errorf("Retrieve waited %s", took)
	}
	return value, err
}

var denied = &smithy.GenericAPIError{Code: "AccessDenied", Message: "not authorized to perform: sts:AssumeRole"}

func TestRoleIsAssumedAsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		role := consumers.Role{ARN: roleARN, ExternalID: "partner-7", Duration: time.Hour}
		value, err := consumers.AssumeRole(service, role, "ota fan-out/é "+strings.Repeat("x", 80)).Retrieve(t.Context())
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
			value, err := retrieve(t, c)
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

func TestOldCredentialsServeToTheirEndWhenDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		reg := prometheus.NewRegistry()
		c := newCredentials(service, func(c *consumers.CredentialsConfig) { c.Metrics = consumers.NewMetrics(reg) })
		running(t, c)
		service.fail(denied)
		time.Sleep(14*time.Minute + 50*time.Second)
		if value, err := retrieve(t, c); err != nil || value.AccessKeyID != "ASIAX" {
			t.Fatalf("before the expiry: %s, %v, want the old credentials", value.AccessKeyID, err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		_, err := retrieve(t, c)
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
			_, _ = retrieve(t, c)
			time.Sleep(100 * time.Millisecond)
		}
		if n := service.count() - before; n > 1 {
			t.Errorf("%d calls within 10 s of failing, want one at most", n)
		}
		service.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := retrieve(t, c); err != nil {
			t.Errorf("after the repair: %v", err)
		}
		if got := metric(t, reg, "shardline_consumers_credentials_expiry_timestamp_seconds"); got < float64(time.Now().Unix()) {
			t.Errorf("expiry %v is not in the future", got)
		}
	})
}

// TestOldCredentialsServeWhileTheProviderIsDown has no word of whether they are
// still good, but the service's.
func TestOldCredentialsServeWhileTheProviderIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		c := newCredentials(service, nil)
		running(t, c)
		judge := newJudge(c)
		service.fail(&smithy.GenericAPIError{Code: "ServiceUnavailable", Message: "try again"})
		time.Sleep(20 * time.Minute)
		if err := judge.list(t); err != nil {
			t.Fatalf("error %v, want the old credentials to serve", err)
		}
		judge.stale("ASIAX")
		if err := judge.list(t); err == nil {
			t.Fatal("the service took expired credentials")
		}
		if _, err := retrieve(t, c); !strings.Contains(fmt.Sprint(err), "ServiceUnavailable") {
			t.Errorf("error %v, want why they are not refreshed", err)
		}
		service.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := judge.list(t); err != nil {
			t.Errorf("after the repair: %v", err)
		}
	})
}

func TestStaleAnswerBringsNewCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		c := newCredentials(service, nil)
		running(t, c)
		judge := newJudge(c)
		judge.stale("ASIAX")
		// Only just there: perhaps the service has yet to learn of them.
		if err := judge.list(t); !strings.Contains(fmt.Sprint(err), "ExpiredToken") {
			t.Fatalf("error %v, want the service's", err)
		}
		synctest.Wait()
		if n := service.count(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
		time.Sleep(10 * time.Second)
		if err := judge.list(t); err == nil {
			t.Fatal("the service took stale credentials")
		}
		synctest.Wait()
		if value, err := retrieve(t, c); err != nil || value.AccessKeyID != "ASIAXX" {
			t.Fatalf("got %s, %v, want the second credentials", value.AccessKeyID, err)
		}
		// All shards of a source say the same at once: that is no reason for
		// more.
		time.Sleep(9 * time.Second)
		judge.stale("ASIAXX")
		for range 50 {
			_ = judge.list(t)
		}
		synctest.Wait()
		if n := service.count(); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
		judge.stale("")
		if err := judge.list(t); err != nil {
			t.Error(err)
		}
	})
}

// TestLateWordOfOldCredentials comes when there are others already.
func TestLateWordOfOldCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		c := newCredentials(service, nil)
		running(t, c)
		judge := newJudge(c)
		judge.stale("ASIAX")
		judge.took = 11 * time.Minute // the second come after 10 at the latest
		if err := judge.list(t); err == nil {
			t.Fatal("the service took stale credentials")
		}
		synctest.Wait()
		if value, err := retrieve(t, c); err != nil || value.AccessKeyID != "ASIAXX" || service.count() != 2 {
			t.Errorf("got %s, %v after %d calls, want the second credentials, and no third", value.AccessKeyID, err, service.count())
		}
	})
}

// TestWrongClocks has credentials whose expiry is by a clock ten minutes from
// this host's, as after a jump of either.
func TestWrongClocks(t *testing.T) {
	for _, skew := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Each set lives five minutes, and is there for a minute after
				// it was asked for: then comes another.
				start := time.Now()
				calls := 0
				set := func() int { return int(time.Since(start) / (4 * time.Minute)) }
				c := newCredentials(nil, func(c *consumers.CredentialsConfig) {
					c.Provider = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
						calls++
						n := set()
						return aws.Credentials{AccessKeyID: fmt.Sprint("SET", n), SecretAccessKey: "secret", CanExpire: true,
							Expires: start.Add(time.Duration(n)*4*time.Minute + 5*time.Minute + skew)}, nil
					})
				})
				running(t, c)
				judge := newJudge(c)
				refused := 0
				for range 60 * 60 { // an hour, a read a second
					judge.stale("")
					for n := range set() {
						if time.Since(start) >= time.Duration(n)*4*time.Minute+5*time.Minute {
							judge.stale(append(judge.refuses, fmt.Sprint("SET", n))...)
						}
					}
					if judge.list(t) != nil {
						refused++
					}
					time.Sleep(time.Second)
					synctest.Wait()
				}
				// With a clock that is ahead they look expired, and are asked
				// for twice a minute; with one that is behind they look good for
				// ten minutes longer, and the service refuses each set once at
				// most: that brings the next.
				if most := map[bool]int{true: 0, false: 15}[skew < 0]; refused > most {
					t.Errorf("%d reads refused, want %d at most", refused, most)
				}
				if calls < 5 || calls > 150 {
					t.Errorf("%d calls of the provider in an hour, want 5 to 150", calls)
				}
			})
		})
	}
}

// TestSuspendedHost lets the clock that runs through suspend run ahead of the
// timers.
func TestSuspendedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		var suspended time.Duration
		c := newCredentials(service, func(c *consumers.CredentialsConfig) {
			clock := c.Clock
			c.Clock = func() time.Duration { return clock() + suspended }
		})
		running(t, c)
		suspended = 12 * time.Minute // due, still good
		if value, err := retrieve(t, c); err != nil || value.AccessKeyID != "ASIAX" {
			t.Errorf("got %s, %v, want what there is", value.AccessKeyID, err)
		}
		synctest.Wait()
		if n := service.count(); n != 2 {
			t.Errorf("%d calls, want a second one, woken by Retrieve", n)
		}
		suspended += time.Hour // expired
		if value, err := retrieve(t, c); err != nil || value.AccessKeyID != "ASIAXXX" {
			t.Errorf("got %s, %v, want to wait for the third credentials", value.AccessKeyID, err)
		}
	})
}

func TestRetrieveWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{}
		c := newCredentials(service, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Retrieve(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "hotels-a") {
			t.Errorf("error %v, want the caller's deadline and the source", err)
		}
		if n := service.count(); n != 0 {
			t.Errorf("%d calls without Run", n)
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := c.Retrieve(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		running(t, c)
		all.Wait()
		if n := service.count(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestRetrieveFailsAtOnceAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{err: denied}
		c := newCredentials(service, nil)
		running(t, c)
		if _, err := retrieve(t, c); !errors.Is(err, pipeline.ErrDenied) || !strings.Contains(err.Error(), roleARN) {
			t.Errorf("error %v, want ErrDenied with the role", err)
		}
	})
}

func TestHangingServiceTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeSTS{hang: true}
		c := newCredentials(service, nil)
		running(t, c)
		start := time.Now()
		if _, err := c.Retrieve(t.Context()); err == nil || time.Since(start) != 15*time.Second {
			t.Errorf("error %v after %v, want a time-out after 15 s", err, time.Since(start))
		}
	})
}

// TestRefusedArgumentIsExplained has the service's words for what the
// configuration cannot know.
func TestRefusedArgumentIsExplained(t *testing.T) {
	for _, c := range []struct {
		message, want string
		role          consumers.Role
	}{
		{"The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
			"role.duration is 12h0m0s: credentials of a role, such as those of a task or an instance, can assume another role for 1h at most", consumers.Role{Duration: 12 * time.Hour}},
		{"The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
			"role.duration is 2h0m0s: lower it, or raise the role's maximum session duration", consumers.Role{Duration: 2 * time.Hour}},
		{"1 validation error detected: Value '1' at 'durationSeconds' failed to satisfy constraint", "role.duration is 1s", consumers.Role{Duration: time.Second}},
		{"1 validation error detected: Value 'x' at 'roleSessionName' failed to satisfy constraint", `role.session_name is "night-reader"`, consumers.Role{SessionName: "night-reader"}},
		{"1 validation error detected: Value at 'externalId' failed to satisfy constraint", "see role.external_id", consumers.Role{ExternalID: "partner-7"}},
		{roleARN + " is invalid", "see role.arn", consumers.Role{}},
	} {
		service := &fakeSTS{err: &smithy.GenericAPIError{Code: "ValidationError", Message: c.message}}
		c.role.ARN = roleARN
		_, err := consumers.AssumeRole(service, c.role, "ota-fanout").Retrieve(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.message) {
			t.Errorf("error %v, want the service's words and %q", err, c.want)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCredentials(&fakeSTS{}, nil)
		running(t, c)
		if _, err := retrieve(t, c); err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(c); strings.Contains(text, "secret") || strings.Contains(text, "token") || strings.Contains(text, "ASIA") {
			t.Errorf("printed as %q", text)
		}
	})
}
