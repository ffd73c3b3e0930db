package main

import (
	"fmt"
	"net/http"
	"strings"
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
