package metrics

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

const (
	// gatherTimeout ends a scrape while its answer can still be written.
	gatherTimeout = 20 * time.Second
	// maxScrapes admits two Prometheus replicas and two people.
	maxScrapes = 4
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
	*Listener
	config Config
	logger *zap.Logger
}

// NewServer wires a server and starts nothing.
func NewServer(config Config) *Server {
	logger := config.Logger
	if logger == nil {
		logger = zap.NewNop()
	}
	s := &Server{config: config, logger: logger}
	s.Listener = NewListener("metrics", config.Listen, s.routes(), logger)
	return s
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
