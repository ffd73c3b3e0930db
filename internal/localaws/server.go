package localaws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what New builds a server from. The zero value gives the service's
// own limits, lifetimes and page sizes on the wall clock.
type Config struct {
	// Now is the clock of credentials, iterators, arrival times and limits;
	// nil: time.Now. With a clock of its own the server does not compare a
	// request's signing time with it.
	Now func() time.Time
	// Skew is how far the server's clock is ahead of the host's, while Now is
	// nil; see SetSkew.
	Skew time.Duration
	// Region is where AddAccount's environment points; empty: eu-west-1.
	Region string
	// Unlimited switches the per-shard throughput limits off (reads, bytes
	// out, records and bytes in). Limits on the size of one request stay.
	Unlimited bool
	// ListShardsPage is the largest page of ListShards; 0: the service's 1,000.
	// A small one makes a client page.
	ListShardsPage int
	// StreamBytes bounds the records held per stream; what exceeds it is
	// trimmed, oldest first, as if by retention. 0: 512 MiB.
	StreamBytes int64
	// StatusDelay is how long a stream stays CREATING, UPDATING or DELETING
	// and a table CREATING; 0: not at all.
	StatusDelay time.Duration
	// IteratorLifetime is how long a shard iterator lives; 0: 5 minutes.
	IteratorLifetime time.Duration
	// SubscriptionLifetime is when a SubscribeToShard ends; 0: 5 minutes.
	SubscriptionLifetime time.Duration
	// Heartbeat is how often a subscription gets an event when there are no
	// records; 0: 5 seconds.
	Heartbeat time.Duration
	// SessionLifetime overrides the lifetime of every role session, whatever
	// AssumeRole asked for; 0: as asked.
	SessionLifetime time.Duration
}

const (
	defaultRegion           = "eu-west-1"
	defaultListShardsPage   = 1000
	defaultStreamBytes      = 512 << 20
	defaultIteratorLifetime = 5 * time.Minute
	defaultSubscription     = 5 * time.Minute
	defaultHeartbeat        = 5 * time.Second

	// shutdownTimeout is how long Serve waits for requests in flight.
	shutdownTimeout = 2 * time.Second
)

// Server is one local AWS: accounts, roles, streams and tables behind one
// HTTP handler. All methods may be called at any time from any goroutine.
type Server struct {
	config    Config
	wallClock bool
	now       func() time.Time
	secret    [32]byte // signs iterators and page tokens

	sessionLifetime atomic.Int64 // time.Duration
	skew            atomic.Int64 // time.Duration

	faults faultSet
	stats  statistics

	expressions expressionCache

	close   sync.Once // closes closing: no subscription goes on
	closing chan struct{}

	mu       sync.RWMutex // guards the directories below, never held over a stream's or table's own lock
	accounts map[string]Credentials
	keys     map[string]*accessKey
	roles    map[string]*role
	streams  map[string]*stream   // by ARN
	tables   map[string]*table    // by ARN
	queues   map[string]*queue    // by ARN
	topics   map[string]*topic    // by ARN
	buckets  map[string]*s3Bucket // by name
	secrets  map[string]*secret   // by ARN
	created  map[string]int64     // last creation second by stream ARN: a stream made again is another one

	listenMu sync.Mutex // guards listener
	listener net.Listener
}

// New returns an empty local AWS. It starts nothing.
func New(config Config) *Server {
	s := &Server{
		config:    config,
		wallClock: config.Now == nil,
		now:       config.Now,
		accounts:  map[string]Credentials{},
		keys:      map[string]*accessKey{},
		roles:     map[string]*role{},
		streams:   map[string]*stream{},
		tables:    map[string]*table{},
		queues:    map[string]*queue{},
		topics:    map[string]*topic{},
		buckets:   map[string]*s3Bucket{},
		secrets:   map[string]*secret{},
		created:   map[string]int64{},
		closing:   make(chan struct{}),
	}
	if s.now == nil {
		s.now = func() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }
	}
	if s.config.Region == "" {
		s.config.Region = defaultRegion
	}
	if s.config.ListShardsPage <= 0 {
		s.config.ListShardsPage = defaultListShardsPage
	}
	if s.config.StreamBytes <= 0 {
		s.config.StreamBytes = defaultStreamBytes
	}
	if s.config.IteratorLifetime <= 0 {
		s.config.IteratorLifetime = defaultIteratorLifetime
	}
	if s.config.SubscriptionLifetime <= 0 {
		s.config.SubscriptionLifetime = defaultSubscription
	}
	if s.config.Heartbeat <= 0 {
		s.config.Heartbeat = defaultHeartbeat
	}
	s.sessionLifetime.Store(int64(config.SessionLifetime))
	s.skew.Store(int64(config.Skew))
	randomBytes(s.secret[:])
	s.stats.init()
	return s
}

// SetSkew changes Config.Skew: to a client it is as if its own host's clock had
// jumped the other way.
func (s *Server) SetSkew(d time.Duration) { s.skew.Store(int64(d)) }

// Handler serves Kinesis, DynamoDB, SQS, S3, Secrets Manager and STS, and /_localaws/ for
// administration. It does not check where a request comes from: serve it on
// the loopback interface only.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

// Listen opens the server's port. The address must be a loopback one, as in
// 127.0.0.1:0; anything else is an error, for whoever reaches the port can
// administer the server.
func (s *Server) Listen(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", address, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("listen on %q: the local AWS serves a loopback address only, such as 127.0.0.1:0", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", address, err)
	}
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	if s.listener != nil {
		listener.Close()
		return fmt.Errorf("listen on %q: already listening on %s", address, s.listener.Addr())
	}
	s.listener = listener
	return nil
}

// Endpoint is the URL of the open port, as AWS_ENDPOINT_URL wants it; empty
// before Listen.
func (s *Server) Endpoint() string {
	s.listenMu.Lock()
	defer s.listenMu.Unlock()
	if s.listener == nil {
		return ""
	}
	return "http://" + s.listener.Addr().String()
}

// Serve answers requests on the port that Listen opened until ctx is done, and
// returns when the requests in flight have ended or two seconds have passed.
func (s *Server) Serve(ctx context.Context) error {
	s.listenMu.Lock()
	listener := s.listener
	s.listenMu.Unlock()
	if listener == nil {
		return errors.New("serve: Listen comes first")
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(func() { s.close.Do(func() { close(s.closing) }) })
	stopped := make(chan struct{})
	served := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
		case <-served:
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if server.Shutdown(limit) != nil {
			server.Close()
		}
	}()
	err := server.Serve(listener)
	close(served)
	<-stopped
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", listener.Addr(), err)
}
