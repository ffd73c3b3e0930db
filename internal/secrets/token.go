package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// defaultLifetime is that of a token whose answer does not say.
	defaultLifetime = 30 * time.Minute
	longestLifetime = 24 * time.Hour
	// deniedInitial and deniedLongest bound the back-off while the token
	// endpoint refuses the client: many allow few requests an hour.
	deniedInitial = 30 * time.Second
	deniedLongest = 10 * time.Minute
	// maxTokenAnswer bounds what is read of an answer.
	maxTokenAnswer = 64 << 10
)

// TokenConfig is how a token is asked for.
type TokenConfig struct {
	Name   string // for logs and metrics
	URL    string // of the token endpoint
	ID     string // of the client
	Secret func() (string, error)
	// SecretRefused is told when the endpoint refuses the client; nil: nobody is.
	SecretRefused func() bool
	Scope         string // empty: none is asked for
	Audience      string // empty: none is sent
	InBody        bool   // id and secret go in the body, instead of a header
	Metrics       *Metrics
	Logger        *zap.Logger
}

// Token is an access token of OAuth 2.0 by client credentials (RFC 6749, 4.4).
// Run alone asks for it: ahead of its end, and when a receiver refuses it.
type Token struct {
	config TokenConfig
	client *http.Client
	logger *zap.Logger
	wake   chan struct{} // holds one: Run has to look again

	asking sync.Mutex // one request at a time

	mu       sync.Mutex
	text     string
	until    time.Time // the end of text; zero: there is none
	err      error     // of the last try; nil: it succeeded, or there was none
	failures int       // in a row
	tried    time.Time // when the last try ended; zero: there was none
	due      time.Time // when it is asked for again; zero: at once
	changed  time.Time
	refused  bool // a receiver refused text: a try is to come
}

// NewToken asks for nothing before Load or Run.
func NewToken(c TokenConfig) *Token {
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	c.Metrics.add(c.Name)
	return &Token{config: c, logger: c.Logger.With(zap.String("token", c.Name)), wake: make(chan struct{}, 1),
		client: &http.Client{Timeout: callTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Run asks for the token ahead of each end until ctx ends.
func (t *Token) Run(ctx context.Context) error {
	defer t.client.CloseIdleConnections()
	for ctx.Err() == nil {
		t.mu.Lock()
		wait := time.Until(t.due)
		t.mu.Unlock()
		if wait <= 0 {
			t.read(ctx, func() bool { return !t.due.After(time.Now()) })
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// Load asks for the token unless that was done already, and says what came of
// it.
func (t *Token) Load(ctx context.Context) error {
	return t.read(ctx, func() bool { return t.tried.IsZero() })
}

// Text is the token, from memory; an error says why there is none.
func (t *Token) Text() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().Before(t.until) {
		return t.text, nil
	}
	err := t.err
	if err == nil {
		err = errNotRead
	}
	return "", fmt.Errorf("token of %s: %w", t.config.Name, err)
}

// Refused says that a receiver refused the token, and answers whether another
// one may be there soon: see Value.Refused.
func (t *Token) Refused() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case t.refused:
		return true
	case t.err == nil && now.Sub(t.tried) >= refusedPause:
		t.refused, t.due = true, now
		select {
		case t.wake <- struct{}{}:
		default:
		}
		return true
	}
	return now.Sub(t.changed) < refusedPause
}

// errDenied is an answer that refuses the client.
var errDenied = errors.New("refused")

// read asks once, if that is wanted still when nobody else asks, and keeps what
// came of it. t.mu is held when wanted is called.
func (t *Token) read(ctx context.Context, wanted func() bool) error {
	t.asking.Lock()
	defer t.asking.Unlock()
	t.mu.Lock()
	want, err := wanted(), t.err
	t.mu.Unlock()
	if !want {
		return err
	}
	text, lifetime, err := t.ask(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, errDenied) && t.config.SecretRefused != nil {
		t.config.SecretRefused()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	failed := t.err != nil
	t.tried, t.refused = now, false
	t.config.Metrics.read(t.config.Name, err)
	if err != nil {
		t.err = err
		t.failures++
		t.due = now.Add(backoff(t.failures, retryInitial, retryLongest))
		if errors.Is(err, errDenied) {
			t.due = now.Add(backoff(t.failures, deniedInitial, deniedLongest))
		}
		if !failed {
			t.logger.Error("no new token: trying again with back-off; the old one serves to its end", zap.Time("end", t.until), zap.Error(err))
		}
		return fmt.Errorf("token of %s: %w", t.config.Name, err)
	}
	if failed {
		t.logger.Info("token renewed again")
	}
	if text != t.text {
		t.changed = now
	}
	t.text, t.until, t.err, t.failures = text, now.Add(lifetime), nil, 0
	t.due = now.Add(lifetime - lifetime/5 - rand.N(lifetime/20+1)) // a fifth ahead of the end
	return nil
}

// ask makes one request for a token.
func (t *Token) ask(ctx context.Context) (text string, lifetime time.Duration, err error) {
	secret, err := t.config.Secret()
	if err != nil {
		return "", 0, fmt.Errorf("client secret: %w", err)
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	for name, value := range map[string]string{"scope": t.config.Scope, "audience": t.config.Audience} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if t.config.InBody {
		form.Set("client_id", t.config.ID)
		form.Set("client_secret", secret)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.config.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, errors.New("token_url: it is not a URL")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if !t.config.InBody { // RFC 6749, 2.3.1: each is encoded first
		r.SetBasicAuth(url.QueryEscape(t.config.ID), url.QueryEscape(secret))
	}
	answer, err := t.client.Do(r)
	if err != nil {
		var at *url.Error // its text has the URL, which may be nobody's business
		if errors.As(err, &at) {
			err = at.Err
		}
		return "", 0, fmt.Errorf("ask the token endpoint: %w", err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxTokenAnswer))
	if err != nil {
		return "", 0, fmt.Errorf("read the token endpoint's answer: %w", err)
	}
	return parseToken(answer.StatusCode, data)
}

// parseToken reads a token endpoint's answer (RFC 6749, 5).
func parseToken(status int, data []byte) (text string, lifetime time.Duration, err error) {
	var said struct {
		Token       string `json:"access_token"`
		Type        string `json:"token_type"`
		Expires     any    `json:"expires_in"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	broken := d.Decode(&said)
	switch {
	case status/100 == 4:
		err = fmt.Errorf("the token endpoint answered HTTP %d: %w", status, errDenied)
	case status != http.StatusOK:
		return "", 0, fmt.Errorf("the token endpoint answered HTTP %d", status)
	case broken != nil:
		return "", 0, errors.New("the token endpoint's answer is not JSON")
	case said.Token == "":
		err = errors.New("the token endpoint's answer has no access_token")
	case said.Type != "" && !strings.EqualFold(said.Type, "bearer"):
		return "", 0, fmt.Errorf("the token is of type %.20q, not bearer", said.Type)
	}
	if err != nil {
		if said.Error != "" {
			err = fmt.Errorf("%w: %.100q %.200q", err, said.Error, said.Description)
		}
		return "", 0, err
	}
	lifetime = defaultLifetime
	switch n := said.Expires.(type) {
	case json.Number:
		lifetime = seconds(n.String())
	case string: // some say it so
		lifetime = seconds(n)
	}
	return said.Token, lifetime, nil
}

// seconds is a lifetime in whole seconds, or the default.
func seconds(text string) time.Duration {
	whole, _, _ := strings.Cut(text, ".")
	n, err := time.ParseDuration(whole + "s")
	if err != nil || n <= 0 {
		return defaultLifetime
	}
	return min(n, longestLifetime)
}
