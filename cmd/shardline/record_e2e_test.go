package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/demo"
	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/internal/otasample"
)

// TestRecordsOfEverySize delivers records of no byte and of the largest size,
// and keys that no header could hold as they are, with the least memory that
// can be configured.
func TestRecordsOfEverySize(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{Unlimited: true}, 1, 1)
	one, two := s.receiver("one"), s.receiver("two")
	s.some(20, 4)
	random := make([]byte, 10<<20)
	chacha := rand.NewChaCha8([32]byte{byte(s.seed)})
	chacha.Read(random) //nolint:errcheck // never fails
	none := s.put(s.streams[0], "hotels-0 000", nil)
	largest := s.put(s.streams[0], "hotels-0 000", random)
	s.put(s.streams[1], "Hôtel «№ 7»\n\x01%41", []byte{0})
	s.put(s.streams[1], "Hôtel «№ 7»\n\x01%41", []byte("<not & xml"))
	s.put(s.streams[0], "hotels-0 000", bytes.Repeat([]byte("x"), 10<<20-1))
	s.some(20, 4)
	p := s.start(s.config(settings{window: "1MiB", failover: 10 * time.Second}))
	s.awaitThrough(one, two)
	p.stop()
	for _, r := range s.receivers {
		if result := s.check(r); result.Duplicates != 0 || result.DeadLettered != 0 {
			t.Errorf("%s: %d duplicates, %d dead letters", r.name, result.Duplicates, result.DeadLettered)
		}
		for _, q := range r.all() {
			if q.digest == none.digest && (q.header.Get("Content-Type") != "application/octet-stream" || q.header.Get("Content-Length") != "0") {
				t.Errorf("%s: headers of the empty record: %v", r.name, q.header)
			}
			if q.digest == largest.digest && q.header.Get("Content-Length") != fmt.Sprint(10<<20) {
				t.Errorf("%s: headers of the largest record: %v", r.name, q.header)
			}
		}
	}
}

// TestNotXML dead-letters what cannot be keyed by hotel code once for its
// source, not once per destination, and goes on with everything else.
func TestNotXML(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	st := s.streams[0]
	for i := range 3 {
		s.receiver(fmt.Sprintf("channel-%d", i))
	}
	generator := otasample.New(s.seed)
	bad := make(map[demo.Digest]string)
	put := func(round int) {
		for i, body := range []string{"this is no XML", "{\"json\": true}", "<open><and>never closed</open>", "\x00\xff\xfe", "<a/><b/>", ""} {
			if body != "" || round == 0 {
				if body != "" {
					body += fmt.Sprint(round)
				}
				m := s.putAs(st, "any", fmt.Sprintf("bad %d %d", round, i), []byte(body))
				bad[m.digest] = body
			}
			for range 5 {
				hotel := fmt.Sprintf("%04d", s.rng.IntN(9))
				s.putAs(st, "any", hotel, generator.Next(hotel))
			}
			// Without a hotel code the partition key is the key.
			s.putAs(st, "any", "any", fmt.Appendf(nil, `<OTA_PingRQ xmlns="http://www.opentravel.org/OTA/2003/05"><EchoData>%d %d</EchoData></OTA_PingRQ>`, round, i))
		}
	}
	put(0)
	config := s.config(settings{key: "hotel_code", failover: 10 * time.Second})
	p := s.start(config)
	s.awaitThrough(s.receivers...)
	metric := fmt.Sprintf(`shardline_pipeline_unreadable_records_total{source=%q}`, st.name)
	if got := p.sample(metric); got != fmt.Sprint(len(bad)) {
		t.Errorf("%s is %q, want %d", metric, got, len(bad))
	}
	metric = fmt.Sprintf(`shardline_pipeline_keyless_records_total{reason="no_hotel_code",source=%q}`, st.name)
	if got := p.sample(metric); got != "6" {
		t.Errorf("%s is %q, want 6", metric, got)
	}
	p.stop()
	put(1)
	p = s.start(config)
	s.awaitThrough(s.receivers...)
	p.stop()

	letters := s.letters()
	if len(letters) != len(bad) {
		t.Errorf("%d dead letters, want one for each of %d records", len(letters), len(bad))
	}
	for _, l := range letters {
		_, known := bad[sha256.Sum256(l.Data)]
		if !known || l.Destination != "" || l.Reason != "unreadable" || l.Detail == "" || l.Source != st.name || l.Stream != st.arn ||
			l.Shard != shardID(0) || l.Sequence == "" || l.PartitionKey != "any" || l.Attempts != 0 || l.Arrival.IsZero() {
			t.Errorf("dead letter %+v", l)
		}
	}
	for _, r := range s.receivers {
		if result := s.check(r); result.Duplicates != 0 || result.DeadLettered != len(bad) {
			t.Errorf("%s: %d duplicates, %d dead letters", r.name, result.Duplicates, result.DeadLettered)
		}
	}
}
