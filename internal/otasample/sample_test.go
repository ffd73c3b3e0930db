package otasample_test

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shardline/shardline/internal/otasample"
	"github.com/shardline/shardline/pipeline/opentravel"
)

func TestSameSeedSameMessages(t *testing.T) {
	one, two, other := otasample.New(7), otasample.New(7), otasample.New(8)
	differs := false
	for range 200 {
		a, b, c := one.Next("0042"), two.Next("0042"), other.Next("0042")
		if !bytes.Equal(a, b) {
			t.Fatalf("one seed, two messages:\n%s\n%s", a, b)
		}
		differs = differs || !bytes.Equal(a, c)
	}
	if !differs {
		t.Error("another seed made the same messages")
	}
}

// TestMessagesAreWhatTheyClaim scans every message: its hotel, the share of
// types, envelopes and prefixes, tokens that differ and numbers that grow.
func TestMessagesAreWhatTheyClaim(t *testing.T) {
	g := otasample.New(1)
	types, soap, tokens := map[string]int{}, map[string]int{}, map[string]bool{}
	prefixed := 0
	const n = 2000
	for i := range n {
		hotel := "00" + strconv.Itoa(i%200)
		if i%50 == 0 {
			hotel = `A&"<` + hotel
		}
		body := g.Next(hotel)
		m, err := opentravel.Scan(body)
		if err != nil {
			t.Fatalf("%v in\n%s", err, body)
		}
		if m.Hotel() != hotel {
			t.Fatalf("hotel %q of %q in\n%s", m.HotelCodes, hotel, body)
		}
		if m.SOAP != "" && !strings.HasPrefix(m.Action, "urn:sample:Hotel") {
			t.Fatalf("action %q", m.Action)
		}
		types[m.Type]++
		soap[m.SOAP]++
		if bytes.Contains(body, []byte("<ota:OTA_")) {
			prefixed++
		}
		tokens[otasample.EchoToken(body)] = true
		if got := otasample.Sequence(body); got != uint64(i+1) {
			t.Fatalf("sequence %d of message %d", got, i+1)
		}
	}
	if len(tokens) != n || tokens[""] {
		t.Errorf("%d tokens for %d messages", len(tokens), n)
	}
	// 45 %, 35 % and 20 % of 2000, a tenth per SOAP version, a quarter with
	// prefix; a third off is far beyond chance.
	for name, want := range map[string]int{
		"OTA_HotelAvailNotifRQ": 900, "OTA_HotelRateAmountNotifRQ": 700, "OTA_HotelResNotifRQ": 400,
	} {
		near(t, name, types[name], want)
	}
	near(t, "SOAP 1.1", soap[opentravel.SOAP11], 200)
	near(t, "SOAP 1.2", soap[opentravel.SOAP12], 200)
	near(t, "prefixed", prefixed, 500)
}

func near(t *testing.T, what string, got, want int) {
	t.Helper()
	if got < want*2/3 || got > want*4/3 {
		t.Errorf("%s: %d, want about %d", what, got, want)
	}
}

// TestSizes holds the sizes against those of the field: mean 4 kB within a
// tenth, median under 2 kB, 99th percentile about 30 kB.
func TestSizes(t *testing.T) {
	for seed := range uint64(3) {
		g := otasample.New(seed)
		const n = 10000
		sizes := make([]int, n)
		sum := 0
		for i := range sizes {
			sizes[i] = len(g.Next("12345"))
			sum += sizes[i]
		}
		slices.Sort(sizes)
		mean, median, p90, p99 := sum/n, sizes[n/2], sizes[n*90/100], sizes[n*99/100]
		t.Logf("seed %d: mean %d, median %d, p90 %d, p99 %d, max %d", seed, mean, median, p90, p99, sizes[n-1])
		if mean < 3600 || mean > 4400 {
			t.Errorf("seed %d: mean %d, want 4000 within a tenth", seed, mean)
		}
		if median < 1200 || median > 2000 {
			t.Errorf("seed %d: median %d", seed, median)
		}
		if p99 < 24000 || p99 > 36000 || sizes[n-1] > 52000 {
			t.Errorf("seed %d: p99 %d, max %d", seed, p99, sizes[n-1])
		}
	}
}

func BenchmarkNext(b *testing.B) {
	g := otasample.New(1)
	total := 0
	for b.Loop() {
		total += len(g.Next("12345"))
	}
	b.SetBytes(int64(total / b.N))
}
