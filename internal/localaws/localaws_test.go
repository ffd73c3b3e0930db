package localaws_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/internal/localaws"
)

const (
	accountA = "111111111111"
	accountB = "222222222222"
	region   = "eu-west-1"
)

// clock is a settable clock.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now().Truncate(time.Second)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a server with two accounts and the SDK's clients for them.
type world struct {
	*localaws.Server
	t        testing.TB
	endpoint string
	client   *http.Client
	a, b     localaws.Credentials
}

func newWorld(t testing.TB, config localaws.Config) *world {
	t.Helper()
	s := localaws.New(config)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100
	t.Cleanup(transport.CloseIdleConnections)
	w := &world{Server: s, t: t, endpoint: server.URL, client: &http.Client{Transport: plainBody{transport}}}
	w.a, w.b = w.account(accountA), w.account(accountB)
	return w
}

func (w *world) account(id string) localaws.Credentials {
	w.t.Helper()
	c, err := w.AddAccount(id)
	w.must(err)
	return c
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// config is the SDK's configuration; it does not retry, so that each answer
// is seen.
func (w *world) config(c localaws.Credentials) aws.Config {
	return aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(w.endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
		HTTPClient:   w.client,
	}
}

// plainBody hides the WriterTo of the SDK's request bodies: after Close it
// answers an error where Read answers the end, and a transport that is still
// looking for the end closes the connection. Under load that is seen on
// loopback.
type plainBody struct{ http.RoundTripper }

func (p plainBody) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct {
			io.Reader
			io.Closer
		}{r.Body, r.Body}
	}
	return p.RoundTripper.RoundTrip(r)
}

func (w *world) kinesis(c localaws.Credentials) *kinesis.Client {
	return kinesis.NewFromConfig(w.config(c))
}

func (w *world) dynamo(c localaws.Credentials) *dynamodb.Client {
	return dynamodb.NewFromConfig(w.config(c))
}

func (w *world) sts(c localaws.Credentials) *sts.Client { return sts.NewFromConfig(w.config(c)) }

// stream makes a stream of account A.
func (w *world) stream(name string, shards int) string {
	w.t.Helper()
	arn, err := w.CreateStream(accountA, region, name, shards)
	w.must(err)
	return arn
}

// wantCode checks the code of an error of the service.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("error is %v, want %s", err, code)
	}
}

// wantType checks that an error is the SDK's typed one.
func wantType[E error](t testing.TB, err error) E {
	t.Helper()
	var typed E
	if !errors.As(err, &typed) {
		t.Errorf("error is %v, want a %T", err, typed)
	}
	return typed
}

var background = context.Background()

// printAll prints v in all the ways that logs do.
func printAll(out io.Writer, v any) { fmt.Fprintf(out, "%v %+v %#v %s", v, v, v, v) }

// asTarget is errors.As; the target is a pointer to an interface or type.
func asTarget(err error, target any) bool { return errors.As(err, target) }
