package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// Bounds of one request: a peer that stalls holds a connection no longer.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute // above the usual scrape interval
	maxHeaderBytes    = 16 << 10

	// gatherTimeout ends a scrape while its answer can still be written.
	gatherTimeout = 20 * time.Second
	// maxScrapes admits two Prometheus replicas and two people.
	maxScrapes = 4
	// shutdownTimeout is how long an answer that has begun may still take.
	shutdownTimeout = 5 * time.Second
)

// Config is what a Server needs. Listen and Gatherer are required.
type Config struct {
	Listen   string // host:port; port 0: the kernel chooses
	Gatherer prometheus.Gatherer
	// Ready answers /readyz, from memory: it must not wait for a peer. Nil: the
	// worker is still starting.
	Ready func() Readiness
	// Alive answers /healthz: an error says that the process is stuck and has
	// to be restarted. Nil: alive while it answers.
	Alive   func() error
	Version string
	Logger  *zap.Logger // nil: none
}

// Server answers /metrics, /healthz and /readyz.
type Server struct {
	config   Config
	logger   *zap.Logger
	http     *http.Server
	listener net.Listener // owned by Run once it is called
}

// NewServer wires a server and starts nothing.
func NewServer(config Config) *Server {
	logger := config.Logger
	if logger == nil {
		logger = zap.NewNop()
	}
	s := &Server{config: config, logger: logger}
	errorLog, err := zap.NewStdLogAt(logger, zapcore.DebugLevel)
	if err != nil { // only for a level that does not exist
		panic(err)
	}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog, // a peer's broken requests: nothing to act on
	}
	return s
}

// Listen takes the address and returns it, with the port that the kernel chose
// for port 0. Nothing is answered before Run.
func (s *Server) Listen() (string, error) {
	if s.listener != nil {
		return s.listener.Addr().String(), nil
	}
	listener, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return "", fmt.Errorf("listen for metrics on %s: %w", s.config.Listen, err)
	}
	s.listener = listener
	return listener.Addr().String(), nil
}

// Close gives the address back when Run was never called; after Run it does
// nothing.
func (s *Server) Close() error {
	if s.listener == nil {
		return nil
	}
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the metrics listener: %w", err)
	}
	return nil
}

// Run serves until ctx ends, then lets answers that have begun finish, for
// five seconds at most. It is meant to be the last part of a worker to stop,
// so that the drain can be watched. It listens first unless Listen has.
func (s *Server) Run(ctx context.Context) error {
	if _, err := s.Listen(); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve metrics on %s: %w", s.listener.Addr(), err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(deadline)
	if errors.Is(err, context.DeadlineExceeded) {
		s.logger.Warn("metrics server closed with requests in flight")
		err = s.http.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("shut down the metrics server: %w", err)
	}
	return nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.config.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            &scrapeLog{logger: s.logger},
		MaxRequestsInFlight: maxScrapes,
		Timeout:             gatherTimeout,
	}))
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.readiness)
	mux.HandleFunc("GET /{$}", s.index)
	return mux
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "shardline "+s.config.Version+"\n\n/metrics\n/healthz\n/readyz\n")
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if s.config.Alive != nil {
		if err := s.config.Alive(); err != nil {
			plain(w, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
	}
	plain(w, http.StatusOK, "ok\n")
}

func (s *Server) readiness(w http.ResponseWriter, _ *http.Request) {
	state := Readiness{Reason: "starting"}
	if s.config.Ready != nil {
		state = s.config.Ready()
	}
	// An empty list reads better than null, in jq above all.
	if state.Sources == nil {
		state.Sources = []SourceState{}
	}
	if state.Destinations == nil {
		state.Destinations = []DestinationState{}
	}
	body, err := json.MarshalIndent(state, "", "  ")
	if err != nil { // a NaN or infinite age
		plain(w, http.StatusInternalServerError, "encode readiness: "+err.Error()+"\n")
		return
	}
	status := http.StatusServiceUnavailable
	if state.Ready {
		status = http.StatusOK
	}
	answer(w, status, "application/json", append(body, '\n'))
}

func plain(w http.ResponseWriter, status int, text string) {
	answer(w, status, "text/plain; charset=utf-8", []byte(text))
}

func answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer is gone: nobody to tell
}

// scrapeLog logs a failing collector when the failure changes, not with every
// scrape.
type scrapeLog struct {
	logger *zap.Logger

	mu   sync.Mutex
	last string // the failure that was logged last
}

// Println is promhttp's logger.
func (l *scrapeLog) Println(v ...any) {
	text := strings.TrimSuffix(fmt.Sprintln(v...), "\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	if text == l.last {
		return
	}
	l.last = text
	l.logger.Error("metrics incomplete", zap.String("error", text))
}
