package deliver_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// TestUsernameToken holds the digest against openssl's:
// printf '0123456789abcdef2026-03-01T06:00:00Zhush' | openssl dgst -sha1 -binary | base64
func TestUsernameToken(t *testing.T) {
	got := deliver.UsernameToken("acme", "hush", []byte("0123456789abcdef"), time.Date(2026, 3, 1, 7, 0, 0, 5, time.FixedZone("", 3600)))
	want := `UsernameToken Username="acme", PasswordDigest="mice0L0BHtyXWzCFgQ89M6b3bBw=", Nonce="MDEyMzQ1Njc4OWFiY2RlZg==", Created="2026-03-01T06:00:00Z"`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestWSSEIsFresh: no two requests have one nonce.
func TestWSSEIsFresh(t *testing.T) {
	s := newServer(t, nil)
	h := newHTTP(t, deliver.Config{URL: s.URL, Auth: deliver.Auth{Type: deliver.AuthWSSE, Username: "acme", Secret: deliver.Value{Text: "hush"}}})
	nonce := regexp.MustCompile(`Nonce="([^"]+)"`)
	seen := map[string]bool{}
	for range 5 {
		if a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")})); a.Reason != deliver.ReasonDelivered {
			t.Fatal(a)
		}
	}
	for _, r := range s.all() {
		found := nonce.FindStringSubmatch(r.Header.Get("X-Wsse"))
		if found == nil || seen[found[1]] {
			t.Fatalf("X-WSSE: %q", r.Header.Get("X-Wsse"))
		}
		seen[found[1]] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d requests", len(seen))
	}
	if _, err := deliver.NewHTTP(deliver.Config{URL: s.URL, Auth: deliver.Auth{Type: deliver.AuthWSSE, Username: `a"b`}}); err == nil {
		t.Error("a quote in the user's name")
	}
}
