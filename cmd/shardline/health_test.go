package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardline/shardline/metrics"
)

// askHealthCommand runs `shardline health` and returns its exit code and what
// it printed.
func askHealthCommand(t *testing.T, variable string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), append([]string{"health"}, args...), environment{
		stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
		getenv: func(name string) string {
			if name == "SHARDLINE_CONFIG" {
				return variable
			}
			return ""
		},
	})
	return code, out.String(), errs.String()
}

func TestHealthAsksTheRealListener(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  metrics.Readiness
		code   int
		stderr string
	}{
		{"ready", metrics.Readiness{Ready: true}, 0, ""},
		{"ready, with trouble in its details", metrics.Readiness{Ready: true, Destinations: []metrics.DestinationState{{Name: "d", Held: true, Reason: "401"}}}, 0, ""},
		{"not ready", metrics.Readiness{Reason: "lease table ota-fanout: no answer"}, 1, "shardline: not ready (503 Service Unavailable): lease table ota-fanout: no answer\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := metrics.NewServer(metrics.Config{
				Listen: "127.0.0.1:0", Gatherer: metrics.NewRegistry("test"),
				Ready: func() metrics.Readiness { return c.state },
			})
			address, err := server.Listen()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- server.Run(ctx) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			// By address, by file, and by the text in the environment.
			text := strings.Replace(goodConfig, "leases:", "listen: {metrics: \""+address+"\"}\nleases:", 1)
			file := filepath.Join(t.TempDir(), "shardline.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, how := range []struct {
				variable string
				args     []string
			}{
				{"", []string{"--url", "http://" + address + "/readyz"}},
				{"", []string{"--config", file}},
				{text, nil},
			} {
				code, stdout, stderr := askHealthCommand(t, how.variable, how.args...)
				if code != c.code || stderr != c.stderr {
					t.Errorf("health %v: exit code %d, stderr %q; want %d, %q", how.args, code, stderr, c.code, c.stderr)
				}
				if want := map[bool]string{true: "ready\n"}[c.code == 0]; stdout != want {
					t.Errorf("health %v prints %q, want %q", how.args, stdout, want)
				}
			}
		})
	}
}

func TestHealthReasons(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"plain text", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "renewals stand still for 31s\nmore", http.StatusServiceUnavailable)
		}, "renewals stand still for 31s\n"},
		{"nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "no reason given"},
		{"a redirect is no yes", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "302 Found"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			_, _ = w.Write([]byte(strings.Repeat("x", 5000)))
		}, strings.Repeat("x", 200) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			code, _, stderr := askHealthCommand(t, "", "--url", server.URL)
			if code != 1 || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, stderr %q, want 1 with %q", code, stderr, c.want)
			}
		})
	}
}

func TestHealthWithoutAWorker(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	closed.Close()
	code, _, stderr := askHealthCommand(t, "", "--url", "http://"+address+"/readyz")
	if code != 1 || !strings.Contains(stderr, "the worker does not answer") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if code, _, _ := askHealthCommand(t, "", "--url", "http://"+address, "--config", "x"); code != 1 {
		t.Error("--url and --config together pass")
	}
}

// A worker that accepts and says nothing is given three seconds.
func TestHealthGivesUp(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	code, _, stderr := askHealthCommand(t, "", "--url", server.URL)
	if code != 1 || !strings.Contains(stderr, "deadline exceeded") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestHealthAddress(t *testing.T) {
	configured := func(listen string) string {
		return strings.Replace(goodConfig, "leases:", "listen: {metrics: \""+listen+"\"}\nleases:", 1)
	}
	for _, c := range []struct{ name, text, want, stderr string }{
		{"no configuration", "", "127.0.0.1:9464", ""},
		{"the default", goodConfig, "127.0.0.1:9464", ""},
		{"every interface", configured("0.0.0.0:9000"), "127.0.0.1:9000", ""},
		{"every interface of IPv6", configured("[::]:9000"), "localhost:9000", ""},
		{"one interface", configured("10.1.2.3:9000"), "10.1.2.3:9000", ""},
		// An edit that is wrong is no reason to end a worker that runs well.
		{"broken", "application: [", "127.0.0.1:9464", "the configuration cannot be loaded"},
	} {
		var stderr bytes.Buffer
		env := environment{stdin: strings.NewReader(""), stderr: &stderr, getenv: func(name string) string {
			if name == "SHARDLINE_CONFIG" {
				return c.text
			}
			return ""
		}}
		if got := healthAddress(env, ""); got != c.want {
			t.Errorf("%s: %s, want %s (stderr %q)", c.name, got, c.want, stderr.String())
		}
		if !strings.Contains(stderr.String(), c.stderr) || (c.stderr == "") != (stderr.Len() == 0) {
			t.Errorf("%s: stderr %q, want %q", c.name, stderr.String(), c.stderr)
		}
	}
}
