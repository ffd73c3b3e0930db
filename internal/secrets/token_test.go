package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/internal/secrets"
)

// endpoint is a token endpoint in memory, in the place of the network.
type endpoint struct {
	mu     sync.Mutex
	answer func(n int) (status int, body string)
	asked  []*http.Request
	forms  []url.Values
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	e.asked, e.forms = append(e.asked, r), append(e.forms, r.PostForm)
	status, body := e.answer(len(e.asked))
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	w.WriteString(body) //nolint:errcheck // a recorder takes everything
	return w.Result(), nil
}

func (e *endpoint) answers(f func(n int) (int, string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = f
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.asked)
}

func numbered(seconds int) func(int) (int, string) {
	return func(n int) (int, string) {
		return 200, fmt.Sprintf(`{"access_token": "token-%d", "token_type": "Bearer", "expires_in": %d}`, n, seconds)
	}
}

func runToken(t *testing.T, e *endpoint, c secrets.TokenConfig) (*secrets.Token, *observer.ObservedLogs) {
	core, logs := observer.New(zap.InfoLevel)
	c.Name, c.URL, c.Logger = "destination/acme", "https://login.example.com/token", zap.New(core)
	if c.Secret == nil {
		c.Secret = func() (string, error) { return "hunter2", nil }
	}
	token := secrets.NewToken(c)
	token.SetTransport(e)
	if err := token.Load(t.Context()); err != nil {
		t.Log(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- token.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return token, logs
}

func tokenIs(t *testing.T, token *secrets.Token, want string) {
	t.Helper()
	got, err := token.Text()
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestToken: one request in the time of a token, ahead of its end.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{answer: numbered(3600)}
		token, _ := runToken(t, e, secrets.TokenConfig{ID: "acme:1", Scope: "a b", Audience: "ota"})
		tokenIs(t, token, "token-1")
		user, password, _ := e.asked[0].BasicAuth()
		if user != "acme%3A1" || password != "hunter2" || e.forms[0].Encode() != "audience=ota&grant_type=client_credentials&scope=a+b" {
			t.Errorf("asked as %s with %s", user, e.forms[0].Encode())
		}
		for range 3600 {
			time.Sleep(time.Second)
			if _, err := token.Text(); err != nil {
				t.Fatal(err)
			}
		}
		if n := e.count(); n != 2 {
			t.Errorf("%d requests in the time of a token, want 2", n)
		}
		tokenIs(t, token, "token-2")
	})
}

// TestTokenOutage: the old one serves to its end, and not beyond; requests are
// few, and fewer when the endpoint refuses.
func TestTokenOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{answer: numbered(600)}
		token, logs := runToken(t, e, secrets.TokenConfig{ID: "acme", InBody: true})
		if e.forms[0].Get("client_secret") != "hunter2" || e.forms[0].Get("client_id") != "acme" || e.asked[0].Header.Get("Authorization") != "" {
			t.Errorf("asked with %v, %v", e.forms[0], e.asked[0].Header)
		}
		e.answers(func(int) (int, string) { return 0, "" })
		time.Sleep(599 * time.Second)
		tokenIs(t, token, "token-1")
		time.Sleep(2 * time.Second)
		tokenIs(t, token, "token of destination/acme: ask the token endpoint: connection refused")
		refused := 0
		e.answers(func(int) (int, string) {
			refused++
			return 401, `{"error": "invalid_client", "error_description": "who?"}`
		})
		time.Sleep(10 * time.Hour)
		tokenIs(t, token, `token of destination/acme: the token endpoint answered HTTP 401: refused: "invalid_client" "who?"`)
		if refused < 55 || refused > 130 {
			t.Errorf("%d requests that were refused in ten hours, want one in 5 to 10 minutes", refused)
		}
		if n := logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 1 {
			t.Errorf("%d error lines for one outage", n)
		}
		e.answers(numbered(600))
		time.Sleep(10 * time.Minute)
		if _, err := token.Text(); err != nil {
			t.Error(err)
		}
		for _, line := range logs.All() {
			if text := fmt.Sprint(line); strings.Contains(text, "token-") || strings.Contains(text, "hunter2") {
				t.Errorf("the log shows a secret: %s", text)
			}
		}
	})
}

// TestTokenRefused: a token that a receiver refuses is replaced at once, and a
// client secret that the endpoint refuses is read anew.
func TestTokenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{answer: numbered(3600)}
		secretRefused := 0
		token, _ := runToken(t, e, secrets.TokenConfig{ID: "acme", SecretRefused: func() bool { secretRefused++; return true }})
		time.Sleep(time.Minute)
		for range 2 {
			if !token.Refused() {
				t.Error("a token that is asked for cannot be waited for")
			}
		}
		synctest.Wait()
		tokenIs(t, token, "token-2")
		time.Sleep(11 * time.Second)
		e.answers(func(int) (int, string) { return 400, `{"error": "invalid_client"}` })
		if !token.Refused() {
			t.Error("it is not asked again")
		}
		synctest.Wait()
		tokenIs(t, token, "token-2") // it may still be good elsewhere
		for range 100 {
			if token.Refused() {
				t.Fatal("the endpoint refuses, and attempts go on")
			}
		}
		if n := e.count(); n != 3 || secretRefused != 1 {
			t.Errorf("%d requests; the secret was refused %d times", n, secretRefused)
		}
	})
}

// TestTokenAnswers is what endpoints say.
func TestTokenAnswers(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		want   string // the token and its lifetime, or the error
	}{
		{200, `{"access_token": "x", "expires_in": 3600}`, "x 1h0m0s"},
		{200, `{"access_token": "x", "token_type": "bearer", "expires_in": "120"}`, "x 2m0s"},
		{200, `{"access_token": "x", "expires_in": 59.9}`, "x 59s"},
		{200, `{"access_token": "x"}`, "x 30m0s"},
		{200, `{"access_token": "x", "expires_in": -1}`, "x 30m0s"},
		{200, `{"access_token": "x", "expires_in": 1e30}`, "x 30m0s"},
		{200, `{"access_token": "x", "expires_in": 99999999}`, "x 24h0m0s"},
		{200, `{"access_token": "x", "token_type": "mac"}`, `the token is of type "mac", not bearer`},
		{200, `{"error": "slow_down"}`, `the token endpoint's answer has no access_token: "slow_down" ""`},
		{200, `<html>`, "the token endpoint's answer is not JSON"},
		{200, ``, "the token endpoint's answer is not JSON"},
		{302, ``, "the token endpoint answered HTTP 302"},
		{503, `{"access_token": "x"}`, "the token endpoint answered HTTP 503"},
		{403, `no`, "the token endpoint answered HTTP 403: refused"},
	} {
		text, lifetime, err := secrets.ParseToken(test.status, []byte(test.body))
		got := fmt.Sprintf("%s %s", text, lifetime)
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%d %s: %s, want %s", test.status, test.body, got, test.want)
		}
	}
}
