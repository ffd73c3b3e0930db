package metrics_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/metrics"
)

// start runs a server on a port of the kernel's choice; the returned stop ends
// it, waits, and hands back what Run answered.
func start(t *testing.T, config metrics.Config) (url string, stop func() error) {
	t.Helper()
	config.Listen = "127.0.0.1:0"
	if config.Gatherer == nil {
		config.Gatherer = metrics.NewRegistry("1.2.3")
	}
	server := metrics.NewServer(config)
	addr, err := server.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if !stopped {
			if err := stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	})
	return "http://" + addr, stop
}

func get(t *testing.T, url string, header ...string) (status int, body string, contentType string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header.Get("Content-Type")
}

func TestServerAnswersItsPaths(t *testing.T) {
	url, _ := start(t, metrics.Config{Version: "1.2.3"})
	for _, c := range []struct {
		path, contains string
		status         int
	}{
		{"/", "/readyz", 200},
		{"/", "shardline 1.2.3", 200},
		{"/healthz", "ok", 200},
		{"/metrics", `shardline_build_info{goversion="go`, 200},
		{"/metrics", "process_open_fds", 200},
		{"/metrics", "go_goroutines", 200},
		{"/debug/pprof/", "", 404},
		{"/nothing", "", 404},
	} {
		status, body, _ := get(t, url+c.path)
		if status != c.status || !strings.Contains(body, c.contains) {
			t.Errorf("GET %s = %d, want %d with %q:\n%s", c.path, status, c.status, c.contains, body)
		}
	}
	response, err := http.Post(url+"/metrics", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics = %d, want 405", response.StatusCode)
	}
}

func TestOpenMetricsIsNegotiated(t *testing.T) {
	url, _ := start(t, metrics.Config{})
	_, body, contentType := get(t, url+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(contentType, "application/openmetrics-text") || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("content type %q, body ends %q", contentType, body[max(0, len(body)-20):])
	}
}

func TestHealthFollowsAlive(t *testing.T) {
	url, _ := start(t, metrics.Config{Alive: func() error { return errors.New("renewals stand still for 31s") }})
	status, body, _ := get(t, url+"/healthz")
	if status != http.StatusServiceUnavailable || body != "renewals stand still for 31s\n" {
		t.Errorf("GET /healthz = %d %q", status, body)
	}
}

func TestReadiness(t *testing.T) {
	since := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// A worker whose only source is refused and whose only destination is held
	// is ready all the same: it could not do better after a restart.
	troubled := metrics.Readiness{
		Ready:        true,
		Leases:       metrics.LeaseState{Table: "ota-fanout", Held: 3},
		Sources:      []metrics.SourceState{{Name: "hotels-a", State: "retrying", Reason: "role refused", Since: since}},
		Destinations: []metrics.DestinationState{{Name: "channel-001", Held: true, Reason: "401", Since: since, InFlight: 0, OldestUnsettledSeconds: 61.5}},
	}
	for _, c := range []struct {
		name   string
		ready  func() metrics.Readiness
		status int
		want   string
	}{
		{"nobody to ask", nil, 503, `{"ready":false,"reason":"starting","leases":{"held":0},"sources":[],"destinations":[]}`},
		{"lease table away", func() metrics.Readiness {
			return metrics.Readiness{Reason: "lease table ota-fanout: no answer", Leases: metrics.LeaseState{Table: "ota-fanout", Since: since}}
		}, 503, `{"ready":false,"reason":"lease table ota-fanout: no answer","leases":{"table":"ota-fanout","held":0,"since":"2026-03-01T12:00:00Z"},"sources":[],"destinations":[]}`},
		{"details are no reason", func() metrics.Readiness { return troubled }, 200, `{"ready":true,"leases":{"table":"ota-fanout","held":3},` +
			`"sources":[{"name":"hotels-a","state":"retrying","reason":"role refused","since":"2026-03-01T12:00:00Z","shards":0}],` +
			`"destinations":[{"name":"channel-001","held":true,"reason":"401","since":"2026-03-01T12:00:00Z","in_flight":0,"oldest_unsettled_seconds":61.5}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, _ := start(t, metrics.Config{Ready: c.ready})
			status, body, contentType := get(t, url+"/readyz")
			if status != c.status || contentType != "application/json" {
				t.Errorf("GET /readyz = %d %s, want %d application/json", status, contentType, c.status)
			}
			if got := compact(t, body); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	encoder := json.NewEncoder(&b)
	if err := encoder.Encode(raw); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// An answer that has begun when ctx ends is finished, and Run returns only
// then.
func TestRunFinishesAnswersInFlight(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	url, stop := start(t, metrics.Config{Ready: func() metrics.Readiness {
		close(asked)
		<-release
		return metrics.Readiness{Ready: true}
	}})
	type result struct {
		status int
		err    error
	}
	answered := make(chan result, 1)
	go func() {
		response, err := http.Get(url + "/readyz")
		if err != nil {
			answered <- result{err: err}
			return
		}
		response.Body.Close()
		answered <- result{status: response.StatusCode}
	}()
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	// The listener closes first, so a refused connection shows that the
	// shutdown has begun.
	for {
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			break
		}
		connection.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("Run returned (%v) with an answer in flight", err)
	default:
	}
	close(release)
	if got := <-answered; got.status != http.StatusOK {
		t.Errorf("answer in flight: %+v, want 200", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestListenNamesTheAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	server := metrics.NewServer(metrics.Config{Listen: taken.Addr().String(), Gatherer: metrics.NewRegistry("")})
	_, err = server.Listen()
	if err == nil || !strings.Contains(err.Error(), "listen for metrics on "+taken.Addr().String()) {
		t.Errorf("Listen on a taken port: %v", err)
	}
	if err := server.Run(t.Context()); err == nil {
		t.Error("Run on a taken port returned nil")
	}
}

// A huge header is refused, not kept.
func TestHeadersAreBounded(t *testing.T) {
	url, _ := start(t, metrics.Config{})
	connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	go func() { // the server may close before everything is written
		_, _ = io.WriteString(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: "+strings.Repeat("a", 64<<10)+"\r\n\r\n")
	}()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, want 431", response.StatusCode)
	}
}

// failing collects nothing but an error.
type failing struct{ desc *prometheus.Desc }

func (f failing) Describe(descs chan<- *prometheus.Desc) { descs <- f.desc }
func (f failing) Collect(ms chan<- prometheus.Metric) {
	ms <- prometheus.NewInvalidMetric(f.desc, errors.New("no reading"))
}

// A collector that fails costs its own metrics, and one log line, not one per
// scrape.
func TestFailingCollectorCostsItself(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	reg := metrics.NewRegistry("1.2.3")
	reg.MustRegister(failing{prometheus.NewDesc("shardline_test_broken", "Never collected.", nil, nil)})
	url, _ := start(t, metrics.Config{Gatherer: reg, Logger: zap.New(core)})
	for range 3 {
		status, body, _ := get(t, url+"/metrics")
		if status != 200 || !strings.Contains(body, "shardline_build_info") {
			t.Errorf("GET /metrics = %d:\n%s", status, body)
		}
	}
	if n := logs.FilterMessage("metrics incomplete").Len(); n != 1 {
		t.Errorf("%d log lines for one lasting failure, want 1: %v", n, logs.All())
	}
}
