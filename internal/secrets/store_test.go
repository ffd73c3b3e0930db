package secrets_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/internal/secrets"
)

// service is Secrets Manager in memory.
type service struct {
	mu      sync.Mutex
	values  map[string]string
	failure error         // of every call; nil: none
	delay   time.Duration // of every call
	calls   map[string]int
	regions []string
}

func (s *service) client(region string) secrets.API {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regions = append(s.regions, region)
	return s
}

func (s *service) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	s.mu.Lock()
	s.calls[*in.SecretId]++
	delay := s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok := s.values[*in.SecretId]
	switch {
	case s.failure != nil:
		return nil, s.failure
	case !ok:
		return nil, errors.New("ResourceNotFoundException: Secrets Manager can't find the specified secret.")
	}
	return &secretsmanager.GetSecretValueOutput{SecretString: aws.String(text)}, nil
}

func (s *service) set(id, text string, failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[id], s.failure = text, failure
}

func (s *service) called(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[id]
}

type fixture struct {
	*service
	*secrets.Store
	logs     *observer.ObservedLogs
	registry *prometheus.Registry
}

// begin makes a store that runs until the test ends.
func begin(t *testing.T, values map[string]string) *fixture {
	core, logs := observer.New(zap.InfoLevel)
	f := &fixture{service: &service{values: values, calls: map[string]int{}}, logs: logs, registry: prometheus.NewRegistry()}
	f.Store = secrets.New(secrets.Config{Client: f.client, Logger: zap.New(core), Metrics: secrets.NewMetrics(f.registry)})
	return f
}

// run runs the store until the test ends.
func (f *fixture) run(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func wants(t *testing.T, v *secrets.Value, want string) {
	t.Helper()
	if got, err := v.Text(); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// TestRotation: a new value is in use within a minute, in one call for all
// fields, and nobody waits for it.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, map[string]string{"partner": `{"user": "acme", "password": "one", "port": 8443, "list": []}`})
		user, password, port := f.Value("partner", "user"), f.Value("partner", "password"), f.Value("partner", "port")
		if _, err := user.Text(); err == nil || err.Error() != "read secret partner: not read yet" {
			t.Errorf("before the first reading: %v", err)
		}
		if err := f.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.run(t)
		wants(t, user, "acme")
		wants(t, password, "one")
		wants(t, port, "8443")
		for field, want := range map[string]string{
			"token": `secret partner: it has no field "token" that is a text or a number`,
			"list":  `secret partner: it has no field "list" that is a text or a number`,
		} {
			if _, err := f.Value("partner", field).Text(); err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", field, err, want)
			}
		}
		f.set("partner", "not JSON", nil)
		time.Sleep(53 * time.Second) // nine tenths of a minute at least lie between readings
		wants(t, password, "one")
		time.Sleep(7 * time.Second)
		synctest.Wait()
		wants(t, f.Value("partner", ""), "not JSON")
		if _, err := user.Text(); err == nil || !strings.Contains(err.Error(), "it is not a JSON object") || strings.Contains(err.Error(), "not JSON") {
			t.Errorf("a field of a text: %v", err)
		}
		if n := f.called("partner"); n != 2 {
			t.Errorf("%d calls for 2 readings", n)
		}
		if n := f.logs.FilterMessage("secret changed: the new value is in use").Len(); n != 1 {
			t.Errorf("%d lines say that it changed", n)
		}
	})
}

// TestOutage: the last value stays in use for as long as the service cannot be
// asked; what was never read says why; both come back by themselves.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, map[string]string{"known": "one"})
		known := f.Value("known", "")
		if err := f.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.run(t)
		f.set("known", "two", errors.New("InternalServiceError"))
		late := f.Value("late", "")
		time.Sleep(10 * time.Hour)
		wants(t, known, "one")
		if _, err := late.Text(); err == nil || err.Error() != "read secret late: InternalServiceError" {
			t.Errorf("never read: %v", err)
		}
		// Once a minute at most, and half of that at least.
		if n := f.called("known"); n < 590 || n > 1210 {
			t.Errorf("%d calls in ten hours", n)
		}
		if n := f.logs.FilterMessage("secret not read: trying again with back-off").Len(); n != 2 {
			t.Errorf("%d lines for two secrets that cannot be read", n)
		}
		f.set("late", "here", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		wants(t, known, "two")
		wants(t, late, "here")
		if n, err := testutil.GatherAndCount(f.registry, "shardline_secrets_reads_total"); err != nil || n != 4 {
			t.Errorf("%d series, %v; want two outcomes of two secrets", n, err)
		}
		f.Keep([]string{"known"})
		if n, _ := testutil.GatherAndCount(f.registry, "shardline_secrets_reads_total"); n != 2 {
			t.Errorf("%d series after one was dropped", n)
		}
		before := f.called("late")
		time.Sleep(time.Hour)
		if n := f.called("late"); n != before {
			t.Errorf("%d calls for a secret that was dropped", n-before)
		}
	})
}

// TestRefused: a refused value is read at once, not more often than every ten
// seconds, and the answer says whether to try again.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := begin(t, map[string]string{"token": "one"})
		token := f.Value("token", "")
		if err := f.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.run(t)
		time.Sleep(20 * time.Second)
		f.set("token", "two", nil)
		f.delay = time.Second
		for range 2 {
			if !token.Refused() {
				t.Error("a value that is being read again cannot be tried again")
			}
		}
		wants(t, token, "one") // nobody waits
		time.Sleep(time.Second)
		synctest.Wait()
		wants(t, token, "two")
		if !token.Refused() {
			t.Error("an attempt with the old value cannot be made again with the new one")
		}
		time.Sleep(11 * time.Second)
		if !token.Refused() { // asks again
			t.Error("it is not asked again")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for range 100 {
			if token.Refused() {
				t.Fatal("the value is right as far as the service knows, and is tried again")
			}
		}
		if n := f.called("token"); n != 3 {
			t.Errorf("%d calls, want the first and one for each time it was refused", n)
		}
	})
}

// TestLoad tries each secret once, some at a time, and says what failed.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arn := "arn:aws:secretsmanager:eu-central-1:111111111111:secret:partner-AbCdEf"
		f := begin(t, map[string]string{arn: "x"})
		f.delay = time.Minute // longer than a reading may take
		f.Value(arn, "")
		for _, id := range []string{"b", "a"} {
			f.Value(id, "")
		}
		began := time.Now()
		err := f.Load(t.Context())
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %s, want one time-out for all", took)
		}
		if err == nil || strings.Count(err.Error(), "\n") != 2 || !strings.HasPrefix(err.Error(), "read secret a: context deadline exceeded\nread secret arn:") {
			t.Errorf("%v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f.Value("c", "")
		if err := f.Load(short); err == nil || err.Error() != "read secret c: context deadline exceeded" {
			t.Errorf("cut off: %v", err)
		}
		if f.regions[0] != "eu-central-1" || f.regions[1] != "" {
			t.Errorf("regions %q", f.regions)
		}
	})
}
