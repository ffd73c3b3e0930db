package consumers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/pipeline"
)

// Tests of Shardline's own credentials as processes get them, by the SDK's code
// from servers that speak the real protocols. Sessions live for a few seconds,
// and the local AWS refuses them afterwards.

const workerSession = 3 * time.Second

// gate holds the requests of a credentials server back while it is shut, and
// counts them.
type gate struct {
	mu     sync.Mutex // guards calls
	calls  int
	shut   sync.RWMutex  // locked while the gate is shut
	waiter chan struct{} // gets one while a request waits, if there is room
}

func newGate() *gate { return &gate{waiter: make(chan struct{}, 1)} }

func (g *gate) pass() {
	g.mu.Lock()
	g.calls++
	g.mu.Unlock()
	if !g.shut.TryRLock() {
		select {
		case g.waiter <- struct{}{}:
		default:
		}
		g.shut.RLock()
	}
	g.shut.RUnlock()
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}

// serve starts a server on the loopback interface.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// worker makes the role of the process itself.
func (l local) worker(t *testing.T) string {
	t.Helper()
	arn, err := l.AddRole(localaws.Role{Account: ownAccount, Name: "shardline-worker", Trust: localaws.Trust{Tokens: []string{"token-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	// Only what a test sets is in the environment, and no file of this host.
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_EC2_METADATA_DISABLED"} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	return arn
}

// provider is a way to credentials, set up in the environment.
type provider struct {
	gate *gate
	// rotate changes what the provider itself is authorised by, where there is
	// such a thing; forget makes the old one worthless.
	rotate, forget func()
}

func webIdentity(t *testing.T, l local, arn string) provider {
	g := newGate()
	endpoint := l.Endpoint()
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if strings.Contains(string(body), "Action=AssumeRoleWithWebIdentity") {
			g.pass()
		}
		request, err := http.NewRequestWithContext(r.Context(), r.Method, endpoint+r.URL.Path, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		request.Header, request.Host = r.Header, r.Host // as signed
		answer, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		maps.Copy(w.Header(), answer.Header)
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	})
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string, valid ...string) {
		if err := errors.Join(l.SetTokens(arn, valid...), os.WriteFile(file, []byte(token), 0o600)); err != nil {
			t.Error(err)
		}
	}
	write("token-1", "token-1")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
	t.Setenv("AWS_ROLE_ARN", arn)
	t.Setenv("AWS_ENDPOINT_URL_STS", proxy)
	return provider{g, func() { write("token-2", "token-1", "token-2") }, func() { write("token-2", "token-2") }}
}

func container(t *testing.T, l local, arn string) provider {
	g := newGate()
	file := filepath.Join(t.TempDir(), "token")
	var mu sync.Mutex // guards valid
	var valid []string
	write := func(text string, tokens ...string) {
		mu.Lock()
		defer mu.Unlock()
		valid = tokens
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("Basic one", "Basic one")
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		g.pass()
		mu.Lock()
		wrong := !slices.Contains(valid, r.Header.Get("Authorization"))
		mu.Unlock()
		if wrong {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		issue(t, w, l, arn)
	})
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint+"/v2/credentials")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
	return provider{g, func() { write("Basic two", "Basic one", "Basic two") }, func() { write("Basic two", "Basic two") }}
}

func instance(t *testing.T, l local, arn string) provider {
	g := newGate()
	endpoint := serve(t, func(w http.ResponseWriter, r *http.Request) {
		const list = "/latest/meta-data/iam/security-credentials/"
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "session")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == list:
			fmt.Fprint(w, "shardline-worker")
		case r.URL.Path == list+"shardline-worker":
			g.pass()
			issue(t, w, l, arn)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
	return provider{g, func() {}, func() {}}
}

// issue answers as the endpoints of containers and instances do.
func issue(t *testing.T, w http.ResponseWriter, l local, arn string) {
	keys, err := l.Session(arn, "worker", workerSession)
	if err != nil {
		t.Error(err)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": keys.AccessKeyID, "SecretAccessKey": keys.SecretAccessKey,
		"Token": keys.SessionToken, "Expiration": keys.Expires.UTC().Format(time.RFC3339Nano)})
}

func TestOwnCredentialsAreRefreshedInTheBackground(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(t *testing.T, l local, arn string) provider
	}{{"web identity", webIdentity}, {"container", container}, {"instance", instance}} {
		t.Run(test.name, func(t *testing.T) {
			l := newLocal(t, localaws.Config{SessionLifetime: workerSession, Unlimited: true})
			stream := l.stream(t, 1)
			if err := l.AllowAccount(stream, ownAccount); err != nil {
				t.Fatal(err)
			}
			p := test.make(t, l, l.worker(t))
			reg := prometheus.NewRegistry()
			base, credentials, err := consumers.NewBase(t.Context(), consumers.BaseConfig{Region: region, Metrics: consumers.NewMetrics(reg)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- credentials.Run(ctx) }()
			t.Cleanup(func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})

			// One source with the credentials themselves, one that assumes a
			// role with them, and the lease table.
			l.base = base
			tables := dynamodb.NewFromConfig(base)
			readers := []pipeline.Reader{}
			for _, role := range []*consumers.Role{nil, l.role} {
				readers = append(readers, l.source(t, stream, role).Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon))
			}
			n := 0
			use := func() {
				t.Helper()
				want := fmt.Sprint(n)
				n++
				if _, _, err := l.Put(stream, "hotel-1", []byte(want)); err != nil {
					t.Fatal(err)
				}
				for _, r := range readers {
					if got, problems := collect(t, r, 1); len(problems) > 0 || got[0] != want {
						t.Fatalf("read %v, errors %v, want %s", got, problems, want)
					}
				}
				if _, err := tables.ListTables(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			use()
			// A refresh that hangs holds nothing up.
			p.gate.shut.Lock()
			select {
			case <-p.gate.waiter:
			case <-time.After(localPatience):
				t.Fatal("no refresh ahead of the expiry")
			}
			before := p.gate.count()
			use()
			if after := p.gate.count(); after != before {
				t.Errorf("%d more calls of the provider by those who read", after-before)
			}
			p.rotate()
			p.gate.shut.Unlock()
			// The third refresh from here is with what came by the rotation
			// alone.
			deadline := time.Now().Add(localPatience)
			for forgotten := false; p.gate.count() < before+4; use() {
				if time.Now().After(deadline) {
					t.Fatalf("%d calls of the provider: the credentials are not refreshed", p.gate.count())
				}
				if !forgotten && p.gate.count() >= before+2 {
					p.forget()
					forgotten = true
				}
			}
			for what, n := range l.Stats().Errors {
				if strings.Contains(what, "Expired") || strings.Contains(what, "Token") {
					t.Errorf("%s: %d", what, n)
				}
			}
			if got := metric(t, reg, "shardline_consumers_credentials_expiry_timestamp_seconds"); got < float64(time.Now().Unix()) {
				t.Errorf("expiry %v is not in the future", got)
			}
		})
	}
}

func TestKeysInTheEnvironmentNeedNoRefresh(t *testing.T) {
	newLocal(t, localaws.Config{})
	base, credentials, err := consumers.NewBase(t.Context(), consumers.BaseConfig{Region: region})
	if err != nil || credentials != nil {
		t.Errorf("credentials %v, %v; want none to refresh", credentials, err)
	}
	if value, err := base.Credentials.Retrieve(t.Context()); err != nil || value.CanExpire {
		t.Errorf("can expire: %v, %v", value.CanExpire, err)
	}
}

// TestNoCredentialsIsExplained has nothing in the environment, as on a host
// that was not set up.
func TestNoCredentialsIsExplained(t *testing.T) {
	l := newLocal(t, localaws.Config{})
	l.worker(t)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	base, credentials, err := consumers.NewBase(t.Context(), consumers.BaseConfig{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- credentials.Run(ctx) }()
	_, err = base.Credentials.Retrieve(ctx)
	if err == nil || !strings.Contains(err.Error(), "default chain") || !strings.Contains(err.Error(), "AWS_PROFILE") {
		t.Errorf("error %v, want the default chain and what to do", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSkewedClocks reads, leases and assumes with a service whose clock is ten
// minutes from this host's, and then jumps to the other side.
func TestSkewedClocks(t *testing.T) {
	// What is made is older than the earliest date of the server below.
	l := newLocal(t, localaws.Config{Skew: -20 * time.Minute, Unlimited: true})
	stream := l.stream(t, 1)
	l.role.Duration = time.Hour // the jumps end no session
	source := l.source(t, stream, l.role)
	r := source.Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon)
	store := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: dynamodb.NewFromConfig(l.base), Table: "fanout", StateTable: "fanout-state",
		Format: checkpoint.MultiStream, Create: true})
	if err := store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	lease := checkpoint.Lease{Key: streamAccount + ":hotels:1:shardId-000000000000"}
	lease.Saved.Checkpoint = checkpoint.TrimHorizon
	if err := store.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	taken, err := store.Take(t.Context(), lease, "worker", "tenure")
	if err != nil {
		t.Fatal(err)
	}
	for _, skew := range []time.Duration{10 * time.Minute, -10 * time.Minute, 0} {
		l.SetSkew(skew)
		for range 3 {
			want := l.put(t, stream, 1)
			got, problems := collect(t, r, 1)
			if len(problems) > 0 || got[0] != want[0] {
				t.Errorf("skew %s: read %v, errors %v, want %v", skew, got, problems, want)
			}
			if taken, err = store.Renew(t.Context(), taken, nil); err != nil {
				t.Errorf("skew %s: %v", skew, err)
			}
			if _, err := source.Stream(t.Context()); err != nil {
				t.Errorf("skew %s: %v", skew, err)
			}
		}
	}
	// Each client met each of the three changes, and no more than once.
	if refused := l.Stats().Errors["kinesis.GetRecords InvalidSignatureException"] + l.Stats().Errors["kinesis.GetShardIterator InvalidSignatureException"] +
		l.Stats().Errors["kinesis.DescribeStreamSummary InvalidSignatureException"]; refused < 2 || refused > 3 {
		t.Errorf("%d requests to Kinesis refused for their date, want one for every change", refused)
	}
}
