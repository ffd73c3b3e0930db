package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// put sends message number of a key and returns the status.
func put(url string, key, number int, timeout time.Duration) (int, error) {
	body := fmt.Sprintf(stampFormat, key, number, time.Now().UnixNano(), 1) + strings.Repeat("x", 64<<10)
	c := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true, WriteBufferSize: 128 << 10}}
	res, err := c.Post(url, "text/xml", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// TestReceiverFaults gives one receiver each fault in turn. Its key 3 is
// poisoned.
func TestReceiverFaults(t *testing.T) {
	tl := newTally(5)
	r, err := newReceiver("channel", tl)
	if err != nil {
		t.Fatal(err)
	}
	r.key = 3
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.serve(ctx) }()
	number := 0
	for _, tc := range []struct {
		name   string
		fault  fault
		key    int
		status int // 0: no answer
		hangs  bool
	}{
		{"well", well, 1, 200, false},
		{"hangs", hangs, 1, 0, true},
		{"500", errs, 1, 500, false},
		{"resets", resets, 1, 0, false},
		{"reads a byte a second", drips, 1, 0, true},
		{"well again", well, 1, 200, false},
		{"another key is poisoned", poison, 1, 200, false},
		{"the key is poisoned", poison, 3, 500, false},
	} {
		if err := r.become(tc.fault); err != nil {
			t.Fatal(err)
		}
		before, n := tl.count(), 0
		if tc.key == 1 {
			n = number
		}
		status, err := put(r.url, tc.key, n, time.Second/2)
		if status != tc.status {
			t.Errorf("%s: status %d, %v; want %d", tc.name, status, err, tc.status)
		}
		if tc.hangs != errors.Is(err, os.ErrDeadlineExceeded) && tc.hangs != (err != nil && strings.Contains(err.Error(), "Client.Timeout")) {
			t.Errorf("%s: it hangs: %t; got %v", tc.name, tc.hangs, err)
		}
		accepted := tl.count() - before
		if want := int64(map[bool]int{true: 1}[tc.status == 200]); accepted != want {
			t.Errorf("%s: %d accepted, want %d", tc.name, accepted, want)
		}
		number += int(accepted)
	}
	if tl.disordered != 0 || tl.duplicates != 0 {
		t.Errorf("%d disordered, %d duplicates; want none", tl.disordered, tl.duplicates)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
