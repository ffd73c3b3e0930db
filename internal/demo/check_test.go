package demo_test

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/demo"
)

// TestCheck sends sequences of messages to a receiver and compares what the
// checker says: a1 is the first message of key a.
func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name, sent, dead string
		want             demo.Result
	}{
		{"in order", "a1 a2 b1 a3", "", demo.Result{Delivered: 4}},
		{"a gap, and a step back that does not continue", "a1 a3 a2 b1", "", demo.Result{Delivered: 4, OutOfOrder: 2}},
		{"a step back that everything follows", "a1 a2 b1 a1 a2 a3", "", demo.Result{Delivered: 4, Duplicates: 2}},
		{"a step back that does not continue", "a1 a2 b1 a1 a3", "", demo.Result{Delivered: 4, Duplicates: 1, OutOfOrder: 1}},
		{"a step back at the very end", "a1 a2 b1 a3 a1", "", demo.Result{Delivered: 4, Duplicates: 1, OutOfOrder: 1}},
		{"lost at the end", "a1 b1 a2", "", demo.Result{Delivered: 3, Lost: 1}},
		{"never attempted", "a1 a2 a3", "", demo.Result{Delivered: 3, Lost: 1}},
		{"refused, and in the dead letters", "a1 a2! a3 b1", "a2", demo.Result{Delivered: 3, DeadLettered: 1}},
		{"refused, and nowhere", "a1 a2! a3 b1", "", demo.Result{Delivered: 3, Lost: 1, OutOfOrder: 1}},
		{"refused, then accepted", "a1 a2! a2 a3 b1", "", demo.Result{Delivered: 4}},
		{"changed on the way", "a1 a2 b1 a3 x9", "", demo.Result{Delivered: 4, Foreign: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ledger := demo.NewLedger()
			for _, m := range strings.Fields("a1 a2 a3 b1") {
				ledger.Acknowledge(m[:1], []byte(m), time.Now())
			}
			r := demo.NewReceiver("channel")
			refusing := demo.NewReceiver("channel").FailsBetween(0, time.Hour)
			var attempts []demo.Attempt
			for _, m := range strings.Fields(tc.sent) {
				body, refused := strings.CutSuffix(m, "!")
				to := r
				if refused {
					to = refusing
				}
				w := httptest.NewRecorder()
				to.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
				all := to.Attempts()
				attempts = append(attempts, all[len(all)-1])
			}
			dead := map[demo.Digest]bool{}
			for _, m := range strings.Fields(tc.dead) {
				dead[sha256.Sum256([]byte(m))] = true
			}
			got := demo.Check(ledger, demo.Logged("channel", attempts), dead)
			tc.want.Destination, tc.want.Behaviour, tc.want.Acknowledged = "channel", "fast", 4
			got.PerSecond, got.P50, got.P99 = 0, 0, 0
			if got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
			if ok := tc.want.Lost+tc.want.OutOfOrder+tc.want.Foreign == 0; got.OK() != ok {
				t.Errorf("OK is %v", got.OK())
			}
		})
	}
}
