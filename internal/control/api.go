package control

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

const (
	// maxBody has room for a thousand keys of a command, as long as they may be.
	maxBody = 2 << 20
	// maxRequests bounds what the tables are asked for at once.
	maxRequests = 8
	// longestWait leaves room for the answer within the server's own limit.
	longestWait = 20 * time.Second
	// callsAtMost bounds what a request asks of the tables.
	callsAtMost = 25 * time.Second
)

// APIConfig is what NewAPI needs.
type APIConfig struct {
	Control *Control
	// Token is asked for at every change; nil: there is none, and changes are
	// refused.
	Token   func() (string, error)
	Metrics *APIMetrics
	Logger  *zap.Logger
}

// API answers /api/v1.
type API struct {
	config APIConfig
	slots  chan struct{}
	mux    *http.ServeMux
}

// Routes are the patterns that the API answers, and what docs/api.md describes.
func Routes() []string {
	return []string{
		"GET /api/v1/destinations",
		"GET /api/v1/destinations/{name}",
		"POST /api/v1/destinations/{name}/{command}",
		"GET /api/v1/commands/{id}",
	}
}

// NewAPI makes the API's handler.
func NewAPI(c APIConfig) *API {
	a := &API{config: c, slots: make(chan struct{}, maxRequests), mux: http.NewServeMux()}
	handlers := []func(r *http.Request) (int, any, error){a.list, a.one, a.give, a.command}
	for i, route := range Routes() {
		a.mux.HandleFunc(route, a.answering(handlers[i]))
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, http.StatusNotFound, "there is "+strings.Join(Routes(), ", "))
	})
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		a.refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d requests are being answered; try again", maxRequests))
		return
	}
	a.mux.ServeHTTP(w, r)
}

// Problem is what a request gets that failed (RFC 9457).
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	ID     string `json:"id,omitempty"` // of a command that may have been applied: give it again under it
}

// failure is an error with the status of its answer.
type failure struct {
	status int
	id     string
	error
}

func (f failure) Unwrap() error { return f.error }

// answering makes a handler of what gives a status and a body.
func (a *API) answering(handle func(r *http.Request) (int, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callsAtMost)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		status, body, err := handle(r.WithContext(ctx))
		if err != nil {
			p := problem(err)
			if p.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="shardline"`)
			}
			write(w, p.Status, "application/problem+json", p)
			return
		}
		write(w, status, "application/json", body)
	}
}

func (a *API) refuse(w http.ResponseWriter, status int, detail string) {
	write(w, status, "application/problem+json", Problem{Title: http.StatusText(status), Status: status, Detail: detail})
}

// problem is what an error means to whoever asked.
func problem(err error) Problem {
	var f failure
	status := http.StatusServiceUnavailable // the tables do not answer
	switch {
	case errors.As(err, &f) && f.status != 0:
		status = f.status
	case errors.Is(err, ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, checkpoint.ErrRefused):
		status = http.StatusConflict
	}
	return Problem{Title: http.StatusText(status), Status: status, Detail: err.Error(), ID: f.id}
}

func write(w http.ResponseWriter, status int, contentType string, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil { // a NaN or infinite number
		status, contentType, text = http.StatusInternalServerError, "application/problem+json", []byte(`{"status": 500}`)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the peer is gone: nobody to tell
}

func (a *API) list(r *http.Request) (int, any, error) {
	all, err := a.config.Control.List(r.Context())
	return http.StatusOK, all, err
}

func (a *API) one(r *http.Request) (int, any, error) {
	one, err := a.config.Control.One(r.Context(), r.PathValue("name"))
	if lag := r.URL.Query().Get("lag"); err == nil && lag == "true" {
		err = a.config.Control.Lag(r.Context(), &one)
	}
	return http.StatusOK, one, err
}

func (a *API) command(r *http.Request) (int, any, error) {
	wait, err := parseWait(r.URL.Query().Get("wait"), 0)
	if err != nil {
		return 0, nil, err
	}
	result, err := a.config.Control.Command(r.Context(), r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return a.awaited(r.Context(), result, wait)
}

// orderBody is the body of a command.
type orderBody struct {
	ID     string   `json:"id"`
	Keys   []string `json:"keys"`
	From   string   `json:"from"`
	Lease  string   `json:"lease"`
	Force  bool     `json:"force"`
	By     string   `json:"by"`
	Reason string   `json:"reason"`
	Wait   string   `json:"wait"`
}

func (a *API) give(r *http.Request) (int, any, error) {
	verb := checkpoint.Verb(r.PathValue("command"))
	if !slices.Contains(checkpoint.Verbs(), verb) {
		return 0, nil, fmt.Errorf("%w command %q; there are %s", ErrUnknown, verb, verbs())
	}
	if err := a.authorised(r); err != nil {
		a.config.Metrics.count(verb, "unauthorised")
		return 0, nil, err
	}
	body, err := decode(r)
	if err != nil {
		a.config.Metrics.count(verb, "refused")
		return 0, nil, err
	}
	wait, err := parseWait(body.Wait, 10*time.Second)
	if err != nil {
		a.config.Metrics.count(verb, "refused")
		return 0, nil, err
	}
	request := Request{ID: body.ID, Verb: verb, Destinations: []string{r.PathValue("name")}, Keys: body.Keys, From: body.From, Lease: body.Lease,
		Force: body.Force, By: body.By, Reason: body.Reason}
	if request.By == "" {
		request.By = "api"
	}
	result, err := a.config.Control.Give(r.Context(), request)
	switch {
	case errors.Is(err, checkpoint.ErrRefused), errors.Is(err, ErrUnknown):
		a.config.Metrics.count(verb, "refused")
		return 0, nil, err
	case err != nil:
		a.config.Metrics.count(verb, "failed")
		return 0, nil, failure{id: result.ID, error: err}
	case result.Again:
		a.config.Metrics.count(verb, "again")
	default:
		a.config.Metrics.count(verb, "applied")
	}
	a.config.Logger.Info("command given through the API", zap.String("command", string(verb)), zap.Strings("destinations", request.Destinations),
		zap.String("id", result.ID), zap.Int64("version", result.Version), zap.Bool("again", result.Again), zap.String("by", request.By))
	return a.awaited(r.Context(), result, wait)
}

// awaited is the answer for a command, after waiting a while for the shards.
func (a *API) awaited(ctx context.Context, result Result, wait time.Duration) (int, any, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if now, err := a.config.Control.Await(ctx, result); err == nil {
		result = now
	} else {
		result.Notes = append(result.Notes, "it was applied; what the shards made of it is not known: "+err.Error())
	}
	if result.State != InForce {
		return http.StatusAccepted, result, nil
	}
	return http.StatusOK, result, nil
}

// authorised says nil when a request has the token.
func (a *API) authorised(r *http.Request) error {
	if a.config.Token == nil {
		return failure{status: http.StatusForbidden, error: errors.New("listen.token is not set: nothing can be changed through the API; set it, or use `shardline destinations`")}
	}
	token, err := a.config.Token()
	if err != nil || token == "" {
		return failure{status: http.StatusForbidden, error: errors.New("listen.token cannot be read, or is empty: nothing can be changed through the API; the worker's log says more")}
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// Of digests, so that not even the token's length shows.
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return failure{status: http.StatusUnauthorized, error: errors.New("changes need the header Authorization: Bearer TOKEN, with the token of listen.token")}
	}
	return nil
}

// decode reads a command's body, which may be empty.
func decode(r *http.Request) (orderBody, error) {
	var body orderBody
	bad := func(format string, args ...any) (orderBody, error) {
		return orderBody{}, failure{status: http.StatusBadRequest, error: fmt.Errorf(format, args...)}
	}
	text, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return orderBody{}, failure{status: http.StatusRequestEntityTooLarge, error: fmt.Errorf("the body is larger than %d bytes", large.Limit)}
	case err != nil:
		return bad("read the body: %w", err)
	case len(text) == 0:
		return body, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return orderBody{}, failure{status: http.StatusUnsupportedMediaType, error: errors.New("the body has to be application/json")}
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return bad("the body: %w", err)
	}
	if decoder.More() {
		return bad("the body has something behind its object")
	}
	return body, nil
}

// parseWait reads how long to wait for the shards.
func parseWait(text string, unset time.Duration) (time.Duration, error) {
	if text == "" {
		return unset, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > longestWait {
		return 0, failure{status: http.StatusBadRequest, error: fmt.Errorf("wait %q: allowed: 0s to %s", text, longestWait)}
	}
	return wait, nil
}

func verbs() string {
	var words []string
	for _, v := range checkpoint.Verbs() {
		words = append(words, string(v))
	}
	return strings.Join(words, ", ")
}

// APIMetrics count the commands that came through the API.
type APIMetrics struct{ commands *prometheus.CounterVec }

// NewAPIMetrics registers the metrics.
func NewAPIMetrics(reg prometheus.Registerer) *APIMetrics {
	m := &APIMetrics{commands: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_control_commands_total",
		Help: "Commands given through the API, by command and what became of them."}, []string{"command", "outcome"})}
	for _, verb := range checkpoint.Verbs() {
		for _, outcome := range []string{"applied", "again", "refused", "failed", "unauthorised"} {
			m.commands.WithLabelValues(string(verb), outcome)
		}
	}
	reg.MustRegister(m.commands)
	return m
}

func (m *APIMetrics) count(verb checkpoint.Verb, outcome string) {
	m.commands.WithLabelValues(string(verb), outcome).Inc()
}
