package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/shardline/shardline/internal/localaws"
)

// TestSecretRotation gives a destination its token from Secrets Manager and
// rotates it while Secrets Manager works, while it fails, and where it was never
// to be had: no hold but for the last, and nothing is lost or out of order.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	set := func(name, text string) {
		t.Helper()
		if _, err := s.aws.SetSecret(tablesAccount, testRegion, name, text); err != nil {
			t.Fatal(err)
		}
	}
	accepts := func(token string) func(*request) reply {
		return func(q *request) reply {
			if q.header.Get("Authorization") != "Bearer "+token {
				return reply{status: http.StatusUnauthorized}
			}
			return accept()
		}
	}
	rotated, lacks, other := s.receiver("rotated"), s.receiver("lacks"), s.receiver("other")
	set("partners/rotated", `{"token": "hunter-one"}`)
	rotated.behaves(accepts("hunter-one"))
	lacks.behaves(accepts("hunter-late"))
	config := s.config(settings{destinations: []destinationSettings{
		{receiver: rotated, more: `retry: {initial: 50ms, max: 200ms, max_attempts: 3}, auth: {type: bearer, token: {secretsmanager: "partners/rotated#token"}}`},
		{receiver: lacks, more: `auth: {type: bearer, token: {secretsmanager: partners/late}}`},
		{receiver: other}}})
	s.some(20, 5)
	p := s.start(config)
	s.awaitThrough(rotated, other)
	p.awaitLog("secret not read", "partners/late", "ResourceNotFoundException")
	p.awaitLog("destination held", "lacks", "secret_unavailable", "read secret partners/late: ")
	if n := lacks.count(); n != 0 {
		t.Errorf("%d attempts without the secret", n)
	}

	// The receiver is first: what it refuses is made again until the new token
	// is there, and no attempt of max_attempts is used up.
	rotated.behaves(accepts("hunter-two"))
	s.some(20, 5)
	await(t, "a token that is no longer right is refused", func() error {
		if q := rotated.all(); q[len(q)-1].accepted {
			return fmt.Errorf("%d requests, the last accepted", len(q))
		}
		return nil
	})
	set("partners/rotated", `{"token": "hunter-two"}`)
	set("partners/late", "hunter-late")
	s.awaitThrough(rotated, other)
	p.awaitLog("secret changed", "partners/rotated")
	if line := p.logged("destination held", `"rotated"`); line != "" {
		t.Errorf("a rotation holds the destination: %s", line)
	}
	s.awaitThrough(lacks) // by a probe

	fault, err := s.aws.AddFault(localaws.Fault{Operation: "secretsmanager.*", Kind: localaws.Error500})
	if err != nil {
		t.Fatal(err)
	}
	s.some(20, 5)
	s.awaitThrough(s.receivers...)
	s.aws.RemoveFault(fault)
	p.stop()
	for _, r := range s.receivers {
		s.check(r)
		if dead := s.dead(r.name); len(dead) > 0 {
			t.Errorf("%s: %d dead letters", r.name, len(dead))
		}
	}
	if log := p.tail(1 << 20); strings.Contains(log, "hunter") {
		t.Error("the log shows a secret")
	}
}

// TestOAuth2 delivers with tokens that end after two seconds and are renewed
// ahead of that, through one that is withdrawn before its end.
func TestOAuth2(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	var mu sync.Mutex
	issued, withdrawn := 0, 0
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if id, secret, _ := r.BasicAuth(); id != "acme" || secret != "hunter2" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "ota" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error": "invalid_client"}`)
			return
		}
		issued++
		fmt.Fprintf(w, `{"access_token": "token-%d", "token_type": "Bearer", "expires_in": 2}`, issued)
	}))
	t.Cleanup(endpoint.Close)
	partner, wrong := s.receiver("partner"), s.receiver("wrong")
	partner.behaves(func(q *request) reply {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		if _, err := fmt.Sscanf(q.header.Get("Authorization"), "Bearer token-%d", &n); err != nil || n < issued-1 || n <= withdrawn {
			return reply{status: http.StatusUnauthorized}
		}
		return accept()
	})
	auth := fmt.Sprintf(`auth: {type: oauth2, token_url: %q, client_id: acme, client_secret: %%s, scope: ota}`, endpoint.URL+"/token")
	config := s.config(settings{destinations: []destinationSettings{
		{receiver: partner, more: "retry: {initial: 50ms, max: 200ms, max_attempts: 1}, " + fmt.Sprintf(auth, "hunter2")},
		{receiver: wrong, more: fmt.Sprintf(auth, "hunter3")}}})
	s.some(20, 5)
	p := s.start(config)
	s.awaitThrough(partner)
	p.awaitLog("destination held", "wrong", "secret_unavailable", "token of destination/wrong", "invalid_client")
	await(t, "tokens are renewed", func() error {
		mu.Lock()
		defer mu.Unlock()
		if issued < 3 {
			return fmt.Errorf("%d were issued", issued)
		}
		withdrawn = issued
		return nil
	})
	s.some(20, 5)
	s.awaitThrough(partner)
	p.stop()
	if line := p.logged("destination held", `"partner"`); line != "" {
		t.Errorf("a token's end holds the destination: %s", line)
	}
	if n := wrong.count(); n != 0 {
		t.Errorf("%d attempts without a token", n)
	}
	s.check(partner)
	if log := p.tail(1 << 20); strings.Contains(log, "hunter") || strings.Contains(log, "token-") {
		t.Error("the log shows a secret")
	}
}
