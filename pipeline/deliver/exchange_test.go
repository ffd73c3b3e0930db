package deliver_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// TestTry shows what went over the wire, and no secret.
func TestTry(t *testing.T) {
	for _, protocol := range []deliver.Protocol{deliver.ProtocolAuto, deliver.ProtocolHTTP2} {
		var got *http.Request
		var body []byte
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			w.Header().Set("Set-Cookie", "session=hunter2")
			w.Header().Set("X-Answer", "yes")
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusTeapot)
			z := gzip.NewWriter(w)
			z.Write([]byte("short and stout")) //nolint:errcheck // the test sees what is missing
			z.Close()
		}))
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetHTTP1(true)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
		t.Cleanup(server.Close)
		d, err := deliver.New(deliver.Config{Name: "channel", URL: server.URL + "/ota?k={key}", Protocol: protocol, DeadLetters: &letterBox{}, Gzip: deliver.NewGzip(),
			Headers: []deliver.Header{{Name: "X-Partner", Value: deliver.Value{Text: "acme"}}},
			Auth:    deliver.Auth{Type: deliver.AuthBearer, Secret: deliver.Value{Secret: func() (string, error) { return "hunter2", nil }}}})
		if err != nil {
			t.Fatal(err)
		}
		record := pipeline.Record{Position: checkpoint.Number("7", 0), Data: bytes.Repeat([]byte("<x/>"), 100), Description: pipeline.Description{Key: "H 1"}}
		answer, exchange := d.Try(t.Context(), deliver.Message{Shard: &shardInfo, Record: &record, Attempt: 1})
		if answer.Reason != deliver.ReasonRejected || answer.Status != 418 || got == nil {
			t.Fatalf("%+v, %+v", answer, exchange)
		}
		if !bytes.Equal(unzip(t, body), record.Data) || got.Header.Get("Authorization") != "Bearer hunter2" {
			t.Errorf("the attempt was not the destination's own: %v", got.Header)
		}
		for _, want := range []string{"X-Partner: acme", "Authorization: [secret]", "X-Shardline-Key: H%201", "Content-Encoding: gzip"} {
			if !slices.Contains(exchange.Request, want) {
				t.Errorf("no line %q in %q", want, exchange.Request)
			}
		}
		if !strings.HasPrefix(exchange.Request[0], "POST /ota?k=H%201 HTTP") || !strings.HasPrefix(exchange.Request[1], "Host: 127.0.0.1:") {
			t.Errorf("the request begins with %q", exchange.Request[:2])
		}
		if !strings.Contains(exchange.Answer[0], " 418") || !slices.Contains(exchange.Answer, "X-Answer: yes") || !slices.Contains(exchange.Answer, "Set-Cookie: [secret]") {
			t.Errorf("answer %q", exchange.Answer)
		}
		if string(exchange.Body) != "short and stout" || exchange.More {
			t.Errorf("body %q, more %v", exchange.Body, exchange.More)
		}
		server.Close()
		answer, exchange = d.Try(t.Context(), deliver.Message{Shard: &shardInfo, Record: &record, Attempt: 1})
		if answer.Reason != deliver.ReasonConnection || answer.Detail == "" || len(exchange.Request) == 0 || exchange.Answer != nil {
			t.Errorf("nobody listens: %+v, %+v", answer, exchange)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
