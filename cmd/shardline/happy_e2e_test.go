package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/internal/otasample"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// TestAcrossAccounts reads two streams of two accounts by roles with external
// ids, keeps the tables in a third account, and gives every message to three
// destinations; a worker that begins where another one stopped tells the
// receivers the same of each message. One of them takes its bodies compressed.
func TestAcrossAccounts(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{ListShardsPage: 1}, 2, 2)
	for i := range 3 {
		s.receiver(fmt.Sprintf("channel-%d", i)).keepBodies = true
	}
	bodies := s.produceOpenTravel(150)
	config := s.config(settings{key: "hotel_code", failover: 10 * time.Second, delivery: "response: opentravel",
		destinations: []destinationSettings{{receiver: s.receivers[0], more: "compression: gzip"}, {receiver: s.receivers[1]}, {receiver: s.receivers[2]}}})
	const success = `<OTA_NotifRS xmlns="http://www.opentravel.org/OTA/2003/05"><Success/></OTA_NotifRS>`
	for _, r := range s.receivers {
		r.behaves(func(*request) reply { return reply{accepted: true, body: success} })
	}

	first := s.start(config)
	s.awaitThrough(s.receivers...)
	s.checkItems(t, first.name)
	first.stop()

	bodies = append(bodies, s.produceOpenTravel(50)...)
	// The one that failed is said again under the same Idempotency-Key.
	refused := make(map[string]bool)
	s.receivers[1].behaves(func(q *request) reply {
		if !refused[q.id] {
			refused[q.id] = true
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{accepted: true, body: success}
	})
	second := s.start(config)
	s.awaitThrough(s.receivers...)
	second.stop()

	for _, r := range s.receivers {
		if result := s.check(r); result.Duplicates != 0 {
			t.Errorf("%s: %d duplicates over a clean restart", r.name, result.Duplicates)
		}
		attempts := make(map[string]int)
		for _, q := range r.all() {
			if attempts[q.id]++; q.attempt != attempts[q.id] {
				t.Errorf("%s: X-Shardline-Attempt is %d at the attempt number %d", r.name, q.attempt, attempts[q.id])
			}
			if q.header.Get("User-Agent") == "" || q.header.Get("Content-Length") != "" && q.header.Get("Transfer-Encoding") != "" {
				t.Errorf("%s: headers %v", r.name, q.header)
			}
			if got := q.header.Get("Content-Encoding"); got != map[bool]string{true: "gzip"}[r == s.receivers[0]] {
				t.Errorf("%s: Content-Encoding %q", r.name, got)
			}
			checkSOAP(t, q)
		}
	}
	if got := len(refused); got == 0 {
		t.Error("nothing was refused: the test tests less than it says")
	}
	// Byte for byte: the digests were compared; so much for digests.
	got := make(map[string]bool)
	for _, q := range s.receivers[2].all() {
		got[string(q.body)] = true
	}
	for _, b := range bodies {
		if !got[string(b)] {
			t.Errorf("a body did not arrive as it was: %.80q", b)
		}
	}
}

// produceOpenTravel puts generated messages through the producer's own code
// and returns their bodies.
func (s *scene) produceOpenTravel(n int) [][]byte {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var bodies [][]byte
	for i, st := range s.streams {
		own, err := s.aws.AddAccount(st.account)
		if err != nil {
			s.t.Fatal(err)
		}
		client, _, err := consumers.NewClient(consumers.ClientConfig{Name: "producer", StreamARN: st.arn, Application: application,
			Base: aws.Config{Region: testRegion, BaseEndpoint: aws.String(s.aws.Endpoint()),
				Credentials: credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, own.SessionToken)}})
		if err != nil {
			s.t.Fatal(err)
		}
		p := consumers.NewProducer(consumers.ProducerConfig{Client: client, StreamARN: st.arn, OnAck: func(m consumers.Message, _ string, _ checkpoint.Position) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.acknowledge(m.Key, m.Data)
		}})
		ran := make(chan error, 1)
		go func() { ran <- p.Run(ctx) }()
		generator := otasample.New(s.rng.Uint64())
		for j := range n {
			hotel := fmt.Sprintf("%05d", 1000*i+j%17)
			body := generator.Next(hotel)
			bodies = append(bodies, body)
			if err := p.Put(ctx, consumers.Message{Key: hotel, Data: body}); err != nil {
				s.t.Fatal(err)
			}
		}
		if err := p.Close(ctx); err != nil {
			s.t.Fatal(err)
		}
		if err := <-ran; err != nil {
			s.t.Fatal(err)
		}
	}
	return bodies
}

// checkSOAP holds the content headers against the message itself.
func checkSOAP(t *testing.T, q request) {
	t.Helper()
	if sha256.Sum256(q.body) != q.digest {
		t.Fatal("the bodies are not kept")
	}
	soap := "" // told by its namespace, in the first bytes
	switch head := string(q.body[:min(300, len(q.body))]); {
	case strings.Contains(head, "http://schemas.xmlsoap.org/soap/envelope/"):
		soap = "1.1"
	case strings.Contains(head, "http://www.w3.org/2003/05/soap-envelope"):
		soap = "1.2"
	}
	action := regexp.MustCompile(`<wsa:Action>([^<]*)</wsa:Action>`).FindSubmatch(q.body)
	media, soapAction := q.header.Get("Content-Type"), q.header.Values("SOAPAction")
	switch soap {
	case "1.1":
		if !strings.HasPrefix(media, "text/xml") || len(soapAction) != 1 || soapAction[0] != `"`+string(action[1])+`"` {
			t.Errorf("SOAP 1.1: Content-Type %q, SOAPAction %q, want text/xml and %q", media, soapAction, action[1])
		}
	case "1.2":
		if !strings.HasPrefix(media, "application/soap+xml") || !strings.Contains(media, `action="`+string(action[1])+`"`) || len(soapAction) != 0 {
			t.Errorf("SOAP 1.2: Content-Type %q, SOAPAction %q, want application/soap+xml with action %q", media, soapAction, action[1])
		}
	default:
		if !strings.Contains(media, "xml") || len(soapAction) != 0 {
			t.Errorf("no SOAP: Content-Type %q, SOAPAction %q", media, soapAction)
		}
	}
	if m, err := opentravel.Scan(q.body); err != nil || m.SOAP != soap {
		t.Errorf("Scan says SOAP %q (%v), want %q", m.SOAP, err, soap)
	}
}

// checkItems holds the items of the lease table against the format of the
// Kinesis Client Library.
func (s *scene) checkItems(t *testing.T, owner string) {
	t.Helper()
	items := s.scan(application).Items
	if len(items) != 4 {
		t.Errorf("%d items in the lease table, want one per shard, 4", len(items))
	}
	text := func(item map[string]types.AttributeValue, name, pattern string) {
		t.Helper()
		v, ok := item[name].(*types.AttributeValueMemberS)
		if !ok || !regexp.MustCompile("^("+pattern+")$").MatchString(v.Value) {
			t.Errorf("attribute %s is %#v, want a string like %s", name, item[name], pattern)
		}
	}
	number := func(item map[string]types.AttributeValue, name string) {
		t.Helper()
		if v, ok := item[name].(*types.AttributeValueMemberN); !ok || !regexp.MustCompile(`^\d+$`).MatchString(v.Value) {
			t.Errorf("attribute %s is %#v, want a number", name, item[name])
		}
	}
	for _, item := range items {
		const streamID = `(111111111111:hotels-0|222222222222:resorts-1):\d{10}`
		text(item, "leaseKey", streamID+`:shardId-\d{12}`)
		text(item, "leaseOwner", owner)
		number(item, "leaseCounter")
		number(item, "ownerSwitchesSinceCheckpoint")
		text(item, "checkpoint", `\d{50,}|TRIM_HORIZON`)
		number(item, "checkpointSubSequenceNumber")
		text(item, "streamName", streamID)
		text(item, "shardId", `shardId-\d{12}`)
		text(item, "startingHashKey", `\d+`)
		text(item, "endingHashKey", `\d+`)
		if _, has := item["parentShardId"]; has {
			t.Errorf("parentShardId of a shard without parents: %#v", item["parentShardId"])
		}
	}
}
