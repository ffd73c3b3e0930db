package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/internal/otasample"
)

// TestProducerDuplicates puts every message twice, as a producer does that sees
// no answer, and some under the id of an earlier one: each is delivered once.
func TestProducerDuplicates(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2, 1)
	content, id := s.streams[0], s.streams[1]
	one := s.receiver("one")
	s.receiver("two")
	generator := otasample.New(s.seed)
	again := func(st *stream, key string, body []byte) {
		if _, _, err := s.aws.Put(st.arn, key, body); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		hotel := fmt.Sprintf("%04d", i%9)
		body := generator.Next(hotel)
		s.put(content, hotel, body)
		again(content, hotel, body)
		ping := `<OTA_PingRQ EchoToken="%d"><EchoData>%s</EchoData></OTA_PingRQ>`
		s.put(id, "p"+hotel, fmt.Appendf(nil, ping, i, "first"))
		again(id, "p"+hotel, fmt.Appendf(nil, ping, i, "second"))
	}
	p := s.start(s.config(settings{failover: 10 * time.Second, sources: []sourceSettings{
		{stream: content, more: "deduplicate: {by: content}"},
		{stream: id, more: "deduplicate: {by: message_id, window: 1h}"},
	}}))
	s.awaitThrough(s.receivers...)
	for _, st := range s.streams {
		await(t, "the duplicates of "+st.name, func() error {
			if got := p.sample(fmt.Sprintf("shardline_pipeline_duplicates_total{source=%q}", st.name)); got != "50" {
				return fmt.Errorf("%q are counted, want 50", got)
			}
			return nil
		})
	}
	p.stop()
	for _, r := range s.receivers {
		if result := s.check(r); result.Duplicates != 0 || result.DeadLettered != 0 {
			t.Errorf("%s: %d duplicates, %d dead letters", r.name, result.Duplicates, result.DeadLettered)
		}
	}
	if n := len(one.all()); n != 100 {
		t.Errorf("%d requests, want 100: one for each message", n)
	}
}
