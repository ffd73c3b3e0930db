package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/filter"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// Config is what a destination is made of. What says "0: …" has a default.
type Config struct {
	Name        string
	Timeout     time.Duration // of one attempt, from connecting to the end of the answer; 0: 10 s
	Concurrency int           // attempts in flight; 0: 64
	// Attempts per second over the whole fleet, and per key; 0: no limit.
	RateLimit, KeyRateLimit float64
	Retry                   RetryPolicy
	BeforeTrim              time.Duration // how long before the stream trims a record it goes to the dead letters; 0: never
	OnExhausted             OnExhausted
	Probes                  Probes // while the destination is held
	Breaker                 Breaker
	DeadLetters             DeadLetters    // nil only when OnExhausted holds: then a refused record does, too
	Filter                  *filter.Filter // of the records that are attempted, the others settle at once; nil: all are

	// How the HTTP transport makes requests and reads answers.
	URL       string // http or https, with the placeholders {key} {type} {sequence_number} {source}
	Method    string // empty: POST
	Headers   []Header
	Auth      Auth
	Protocol  Protocol
	TLS       TLS
	UserAgent string // empty: shardline/devel
	Response  Response
	Classes   opentravel.Classes // the destination's own codes over the defaults
	Statuses  map[int]Class      // its own over the table, of HTTP statuses from 300 on

	Gzip *Gzip // compresses bodies, once for all destinations that share it; nil: they go out as they came

	Transport Transport   // nil: HTTP, made of the fields above
	Metrics   *Metrics    // nil: none
	Logger    *zap.Logger // nil: none
	Rand      *rand.Rand  // of the jitter; nil: seeded at random
}

// Header is a request header. A name may come more than once: its values go
// out in their order.
type Header struct {
	Name  string
	Value Value
}

// Value is text, or a secret that is read when it is needed.
type Value struct {
	Text   string
	Secret func() (string, error) // nil: Text
	// Fresh: Secret is asked for every request, since its answers differ, or come
	// from memory. Otherwise one serves for some seconds.
	Fresh bool
	// Refused says that a receiver refused the secret, and answers whether
	// another one may be there soon. nil: nobody knows of another one.
	Refused func() bool
}

// AuthType is how requests are authenticated.
type AuthType uint8

// The ways of authentication.
const (
	AuthNone   AuthType = iota
	AuthBasic           // Username, Secret
	AuthBearer          // Secret
	AuthHeader          // Name, Secret
	AuthWSSE            // Username, Secret: the X-WSSE header with a digest of the password
)

// Auth authenticates requests.
type Auth struct {
	Type     AuthType
	Name     string // of the header
	Username string
	Secret   Value // the password, token or header value
}

// Transport carries attempts. Send sends one message and says what came of
// it; it returns soon after ctx has ended and keeps nothing of m. It is called
// by many goroutines. A Transport that is an io.Closer is closed with its
// destination.
type Transport interface {
	Send(ctx context.Context, m *Message) Answer
}

// Punctual is a Transport that ends an attempt at Message.Deadline by itself
// when KeepsDeadline says so. The ctx of its calls then ends with the tenure
// alone, and is the same for all attempts of a shard: no attempt makes one.
type Punctual interface {
	Transport
	KeepsDeadline() bool
}

// Message is a record on its way.
type Message struct {
	Shard   *pipeline.ShardInfo
	Record  *pipeline.Record
	Attempt int // from 1; per record, since this worker has it

	Start    time.Time // of the attempt; zero: now
	Deadline time.Time

	Body     []byte // what goes out: the record's data, or that compressed; nobody writes to it
	Encoding string // of Body, for Content-Encoding; empty: as it came

	Exchange *Exchange // what an HTTP transport fills in; nil: nobody looks at it
}

// Gets says whether the destination's filter lets a record of a source pass.
func (c Config) Gets(source string, r *pipeline.Record) bool {
	return c.Filter == nil || passes(c.Filter, source, r)
}

func passes(f *filter.Filter, source string, r *pipeline.Record) bool {
	m := filter.Message{Key: r.Key, PartitionKey: r.PartitionKey, Type: r.Type, Hotels: r.Hotels, Source: source}
	return f.Passes(&m)
}

func (c Config) check() error {
	switch {
	case c.Name == "":
		return errors.New("destination: it has no name")
	case c.DeadLetters == nil && c.OnExhausted == ExhaustedDeadLetter:
		return fmt.Errorf("destination %s: dead letters are needed unless exhausted records hold it or their key", c.Name)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 64
	}
	if c.Method == "" {
		c.Method = "POST"
	}
	if c.UserAgent == "" {
		c.UserAgent = "shardline/devel"
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return c
}
