package deliver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

func openFile(t *testing.T) (*deliver.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "records.jsonl")
	f, err := deliver.NewFile(path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, path
}

func readEnvelopes(t *testing.T, path string) []deliver.Envelope {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var envelopes []deliver.Envelope
	for line := range bytes.Lines(data) {
		var e deliver.Envelope
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%.80q: %v", line, err)
		}
		envelopes = append(envelopes, e)
	}
	return envelopes
}

func numbered(n int, data []byte) *deliver.Message {
	return &deliver.Message{Shard: &shardInfo, Attempt: 1, Record: &pipeline.Record{
		Position: checkpoint.Number(fmt.Sprint(n), 0), PartitionKey: "p", Data: data, Arrival: time.Unix(1700000000, 5e8),
		Description: pipeline.Description{Key: "H1", Type: "OTA_PingRQ", ContentType: "text/xml", SOAP: "1.1", Action: "urn:ping"},
	}}
}

func TestEnvelope(t *testing.T) {
	m := numbered(7, []byte("<a b=\"c\">&amp;é</a>\n"))
	want := `{"sequence_number":"7","key":"H1","type":"OTA_PingRQ","arrival":"2023-11-14T22:13:20.5Z","source":"hotels",` +
		`"stream":"arn:aws:kinesis:eu-west-1:111111111111:stream/hotels","shard":"shardId-000000000000","partition_key":"p",` +
		`"content_type":"text/xml","action":"urn:ping","idempotency_key":"` + m.IdempotencyKey() + `","data":"<a b=\"c\">&amp;é</a>\n"}` + "\n"
	if got := string(m.Line()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, data := range []string{"", "text", "a\x00b", "\xff\xfe", "<é/>\u2028"} {
		var e deliver.Envelope
		if err := json.Unmarshal(numbered(1, []byte(data)).Line(), &e); err != nil {
			t.Fatal(err)
		}
		got := string(e.DataBase64)
		if e.Data != nil {
			got += *e.Data
		}
		if got != data || (e.Data != nil) == (e.DataBase64 != nil) {
			t.Errorf("%q: came back as text %v, base64 %q", data, e.Data, e.DataBase64)
		}
	}
}

// TestFileInOrder delivers through a destination: all records, in order per
// key.
func TestFileInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, path := openFile(t)
		s := begin(t, deliver.Config{Transport: f})
		for range 50 {
			s.put("a", "b", "c", "a")
		}
		synctest.Wait()
		if s.cursor.Through() != 200 {
			t.Errorf("settled through %d, want 200", s.cursor.Through())
		}
		inOrder(t, readEnvelopes(t, path), 200)
	})
}

// inOrder checks that there are so many records, in order per key.
func inOrder(t *testing.T, envelopes []deliver.Envelope, want int) {
	t.Helper()
	last := map[string]int{}
	for _, e := range envelopes {
		var n int
		fmt.Sscan(e.SequenceNumber, &n)
		if n <= last[e.Key] {
			t.Errorf("key %s: %d behind %d", e.Key, n, last[e.Key])
		}
		last[e.Key] = n
	}
	if len(envelopes) != want {
		t.Errorf("%d records, want %d", len(envelopes), want)
	}
}

// TestFileFailures: what the disk refuses is not delivered, and not there.
func TestFileFailures(t *testing.T) {
	f, path := openFile(t)
	bad := &faults{}
	f.SetOpen(func(file deliver.DiskFile) deliver.DiskFile { return &faulty{file, new(atomic.Int64), bad} })
	send := func(want deliver.Reason) {
		t.Helper()
		if a := f.Send(t.Context(), numbered(1, []byte("x"))); a.Reason != want {
			t.Errorf("%v (%s), want %v", a.Reason, a.Detail, want)
		}
	}
	send(deliver.ReasonDelivered)
	bad.short.Store(true)
	send(deliver.ReasonUnwritable)
	bad.short.Store(false)
	bad.sync.Store(true)
	send(deliver.ReasonUnwritable)
	bad.sync.Store(false)
	if n := len(readEnvelopes(t, path)); n != 1 {
		t.Errorf("%d lines, want the one that was delivered", n)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	send(deliver.ReasonNotFound)
}

// TestFileUnwanted: a line whose attempt was given up while another one has the
// disk is not written later.
func TestFileUnwanted(t *testing.T) {
	f, path := openFile(t)
	bad := &faults{gate: make(chan struct{}), entered: make(chan struct{}, 8)}
	f.SetOpen(func(file deliver.DiskFile) deliver.DiskFile { return &faulty{file, new(atomic.Int64), bad} })
	var first sync.WaitGroup
	first.Go(func() { f.Send(t.Context(), numbered(1, nil)) })
	<-bad.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Without a chance for the disk, which the first has, this ends at once.
	if a := f.Send(ctx, numbered(2, nil)); a.Reason != deliver.ReasonCancelled {
		t.Errorf("%v, want cancelled", a.Reason)
	}
	bad.gate <- struct{}{}
	first.Wait()
	bad.gate = nil
	f.Send(t.Context(), numbered(3, nil))
	if got := readEnvelopes(t, path); len(got) != 2 || got[0].SequenceNumber != "1" || got[1].SequenceNumber != "3" {
		t.Errorf("%+v, want 1 and 3", got)
	}
}
