package control_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/control"
)

func secret() (string, error) { return "hunter2", nil }

// api answers a request, with a token if it is not empty.
func api(t *testing.T, s checkpoint.Store, token func() (string, error), reg prometheus.Registerer, method, path, given, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	h := control.NewAPI(control.APIConfig{Control: controlOf(s), Token: token, Metrics: control.NewAPIMetrics(reg), Logger: zaptest.NewLogger(t)})
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if given != "" {
		r.Header.Set("Authorization", given)
	}
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestAPI holds answers to requests.
func TestAPI(t *testing.T) {
	const pause, ok, json = "/api/v1/destinations/one/pause", "Bearer hunter2", "application/json"
	unreadable := func() (string, error) { return "", errors.New("gone") }
	for _, tt := range []struct {
		name, method, path, token, contentType, body string
		secret                                       func() (string, error)
		status                                       int
		says                                         string
		applied                                      bool
	}{
		{"list", "GET", "/api/v1/destinations", "", "", "", nil, 200, `"name": "gone"`, false},
		{"one", "GET", "/api/v1/destinations/two", "", "", "", nil, 200, `"at": "5:0"`, false},
		{"one that there is not", "GET", "/api/v1/destinations/three", "", "", "", nil, 404, "no destination of that name", false},
		{"a command that there is not", "GET", "/api/v1/commands/c-1", "", "", "", nil, 404, "not among the last", false},
		{"nothing there", "GET", "/api/v2", "", "", "", nil, 404, "POST /api/v1/destinations/{name}/{command}", false},
		{"another method", "DELETE", "/api/v1/destinations/one", ok, "", "", secret, 404, "there is", false},
		{"no token set", "POST", pause, ok, json, "{}", nil, 403, "listen.token is not set", false},
		{"a token that cannot be read", "POST", pause, ok, json, "{}", unreadable, 403, "cannot be read", false},
		{"no token given", "POST", pause, "", json, "{}", secret, 401, "Authorization: Bearer TOKEN", false},
		{"another token", "POST", pause, "Bearer hunter3", json, "{}", secret, 401, "Authorization", false},
		{"a part of the token", "POST", pause, "Bearer hunter", json, "{}", secret, 401, "Authorization", false},
		{"another scheme", "POST", pause, "Basic hunter2", json, "{}", secret, 401, "Authorization", false},
		{"pause", "POST", pause, ok, json, `{"wait": "0s", "reason": "moving"}`, secret, 202, `"state": "waiting"`, true},
		{"pause without a body", "POST", "/api/v1/destinations/one/hold", ok, "", "", secret, 202, `"command": "hold"`, true},
		{"an unknown command", "POST", "/api/v1/destinations/one/stop", ok, json, "{}", secret, 404, "there are pause, resume", false},
		{"an unknown destination", "POST", "/api/v1/destinations/three/pause", ok, json, "{}", secret, 404, "no destination of that name; there are one, two", false},
		{"a name that has to be escaped", "POST", "/api/v1/destinations/a%2Fb/pause", ok, json, "{}", secret, 404, "a/b: unknown", false},
		{"refused", "POST", "/api/v1/destinations/one/remove", ok, json, "{}", secret, 409, "still configured", false},
		{"a form", "POST", pause, ok, "application/x-www-form-urlencoded", "wait=0s", secret, 415, "application/json", false},
		{"an unknown field", "POST", pause, ok, json, `{"waiting": "0s"}`, secret, 400, `unknown field \"waiting\"`, false},
		{"no JSON", "POST", pause, ok, json, `{"wait"`, secret, 400, "unexpected EOF", false},
		{"two objects", "POST", pause, ok, json, `{} {}`, secret, 400, "behind its object", false},
		{"a wait that is too long", "POST", pause, ok, json, `{"wait": "1h"}`, secret, 400, "0s to 20s", false},
		{"a body of 3 MB", "POST", pause, ok, json, `{"reason": "` + strings.Repeat("x", 3<<20) + `"}`, secret, 413, "larger than", false},
		{"a long reason", "POST", pause, ok, json, `{"wait": "0s", "reason": "` + strings.Repeat("x", 3<<10) + `"}`, secret, 409, "longer than 1024 bytes", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := table(t)
			body := tt.body
			if tt.name == "pause without a body" { // it would wait for ten seconds
				acknowledge(t, s, 1)
				tt.status = 200
			}
			w := api(t, s, tt.secret, prometheus.NewRegistry(), tt.method, tt.path, tt.token, tt.contentType, body)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%d, want %d with %q:\n%s", w.Code, tt.status, tt.says, w.Body)
			}
			if want := "application/problem+json"; w.Code >= 400 && w.Header().Get("Content-Type") != want {
				t.Errorf("Content-Type %s, want %s", w.Header().Get("Content-Type"), want)
			}
			if w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if d, _ := s.Desired(t.Context()); (d.Version > 0) != tt.applied {
				t.Errorf("version %d after it", d.Version)
			}
			if strings.Contains(w.Body.String(), "hunter2") {
				t.Error("the answer has the token")
			}
		})
	}
}

// acknowledge lets the owner of d acknowledge a version before it is there.
func acknowledge(t *testing.T, s *checkpoint.Memory, version int64) {
	t.Helper()
	s.Fault = func(op, _ string) checkpoint.Outcome {
		if op == "set_desired" {
			s.Fault = nil
			l, err := s.Get(t.Context(), stream+":d")
			if err != nil {
				t.Fatal(err)
			}
			saved := l.Saved
			saved.Acknowledged = version
			if _, err := s.Renew(t.Context(), l, &saved); err != nil {
				t.Fatal(err)
			}
		}
		return checkpoint.None
	}
}

// A command whose outcome is not known says its id, under which it may be given
// again.
func TestAPIUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := table(t)
		s.Fault = func(op, _ string) checkpoint.Outcome {
			if op == "set_desired" {
				return checkpoint.Fail
			}
			return checkpoint.None
		}
		reg := prometheus.NewRegistry()
		w := api(t, s, secret, reg, "POST", "/api/v1/destinations/one/pause", "Bearer hunter2", "application/json", `{"id": "p-1"}`)
		var p control.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusServiceUnavailable || p.ID != "p-1" || !strings.Contains(p.Detail, "give it again under its id, p-1") {
			t.Errorf("%d %s, %v", w.Code, w.Body, err)
		}
		if n := counted(t, reg, "pause", "failed"); n != 1 {
			t.Errorf("%v commands failed, want 1", n)
		}
	})
}

// counted is a value of shardline_control_commands_total.
func counted(t *testing.T, reg *prometheus.Registry, command, outcome string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == command && m.GetLabel()[1].GetValue() == outcome {
			return m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no series of %s and %s", command, outcome)
	return 0
}

// TestDocument holds docs/api.md against the routes, the commands and the fields.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	for _, route := range control.Routes() {
		if !strings.Contains(doc, "`"+route+"`") {
			t.Errorf("docs/api.md does not describe %s", route)
		}
	}
	for _, line := range strings.Split(doc, "\n") {
		route, found := strings.CutPrefix(line, "### `")
		if found && !strings.Contains(strings.Join(control.Routes(), "`\n")+"`", strings.TrimSpace(route)) {
			t.Errorf("docs/api.md describes %s, which there is not", route)
		}
	}
	for _, verb := range checkpoint.Verbs() {
		if !strings.Contains(doc, "| `"+string(verb)+"` |") {
			t.Errorf("docs/api.md does not describe the command %s", verb)
		}
	}
	for _, field := range control.Fields() {
		if !strings.Contains(doc, "`"+field+"`") {
			t.Errorf("docs/api.md does not describe the field %s", field)
		}
	}
}
