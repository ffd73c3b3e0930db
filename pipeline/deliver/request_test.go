package deliver_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

func TestRequest(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, nil)
		tests := []struct {
			name   string
			config deliver.Config
			record pipeline.Record
			uri    string
			want   map[string]string // header: value; "-": absent
		}{
			{"plain", deliver.Config{URL: s.URL + "/ota?x=1"},
				pipeline.Record{Data: []byte("a\r\n\x00b"), Description: pipeline.Description{ContentType: "application/xml; charset=utf-8"}},
				"/ota?x=1",
				map[string]string{"Content-Type": "application/xml; charset=utf-8", "Soapaction": "-", "X-Shardline-Sequence-Number": "4959",
					"X-Shardline-Key": "H1", "X-Shardline-Attempt": "1", "User-Agent": "shardline/devel", "Accept-Encoding": "-", "Authorization": "-"}},
			{"nothing known, no bytes", deliver.Config{URL: s.URL}, pipeline.Record{}, "/",
				map[string]string{"Content-Type": "application/octet-stream", "Content-Length": "0"}},
			{"SOAP 1.1", deliver.Config{URL: s.URL},
				pipeline.Record{Data: []byte("x"), Description: pipeline.Description{ContentType: "text/xml; charset=utf-8", SOAP: "1.1", Action: "urn:notify"}}, "/",
				map[string]string{"Soapaction": `"urn:notify"`, "Content-Type": "text/xml; charset=utf-8"}},
			{"SOAP 1.1 without action", deliver.Config{URL: s.URL},
				pipeline.Record{Description: pipeline.Description{SOAP: "1.1"}}, "/", map[string]string{"Soapaction": `""`}},
			{"SOAP 1.2", deliver.Config{URL: s.URL},
				pipeline.Record{Description: pipeline.Description{ContentType: "application/soap+xml; charset=utf-8", SOAP: "1.2", Action: "urn:notify"}}, "/",
				map[string]string{"Soapaction": "-", "Content-Type": `application/soap+xml; charset=utf-8; action="urn:notify"`}},
			{"SOAP 1.2, the action is there", deliver.Config{URL: s.URL},
				pipeline.Record{Description: pipeline.Description{ContentType: `application/soap+xml; action="urn:notify"`, SOAP: "1.2", Action: "urn:notify"}}, "/",
				map[string]string{"Content-Type": `application/soap+xml; action="urn:notify"`}},
			{"the configuration wins", deliver.Config{URL: s.URL, UserAgent: "shardline/1.2", Headers: []deliver.Header{
				{Name: "content-type", Value: deliver.Value{Text: "text/plain"}}, {Name: "soapaction", Value: deliver.Value{Text: "mine"}},
				{Name: "X-Partner", Value: deliver.Value{Text: "acme"}}, {Name: "Host", Value: deliver.Value{Secret: func() (string, error) { return "ota.example:8443", nil }}}}},
				pipeline.Record{Description: pipeline.Description{ContentType: "text/xml", SOAP: "1.1", Action: "urn:notify"}}, "/",
				map[string]string{"Content-Type": "text/plain", "Soapaction": "mine", "X-Partner": "acme", "Host": "ota.example:8443", "User-Agent": "shardline/1.2"}},
			{"compressed", deliver.Config{URL: s.URL, Gzip: deliver.NewGzip()}, pipeline.Record{}, "/", map[string]string{"Content-Encoding": "gzip"}},
			{"template", deliver.Config{URL: s.URL + "/{source}/h/{key}?t={type}&n={sequence_number}"},
				pipeline.Record{Position: checkpoint.Number("4959", 7), Description: pipeline.Description{Key: "a/b ?é%#", Type: "A&B=C+D"}},
				"/hotels/h/a%2Fb%20%3F%C3%A9%25%23?t=A%26B%3DC%2BD&n=4959%3A7",
				map[string]string{"X-Shardline-Key": "a/b%20?%C3%A9%25#", "X-Shardline-Sequence-Number": "4959:7"}},
			{"bytes that are no header", deliver.Config{URL: s.URL},
				pipeline.Record{Description: pipeline.Description{Key: "a\r\nX: y", ContentType: "text/xml\r\nX: y", SOAP: "1.1", Action: "a\"b"}}, "/",
				map[string]string{"X-Shardline-Key": "a%0D%0AX:%20y", "Content-Type": "application/octet-stream", "Soapaction": `""`, "X": "-"}},
			{"basic", deliver.Config{URL: s.URL, Auth: deliver.Auth{Type: deliver.AuthBasic, Username: "Aladdin",
				Secret: deliver.Value{Secret: func() (string, error) { return "open sesame", nil }}}},
				pipeline.Record{}, "/", map[string]string{"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
			{"bearer", deliver.Config{URL: s.URL, Auth: deliver.Auth{Type: deliver.AuthBearer, Secret: deliver.Value{Text: "t0ken"}}},
				pipeline.Record{}, "/", map[string]string{"Authorization": "Bearer t0ken"}},
			{"wsse", deliver.Config{URL: s.URL, Auth: deliver.Auth{Type: deliver.AuthWSSE, Username: "acme", Secret: deliver.Value{Text: "p"}}},
				pipeline.Record{}, "/", map[string]string{"Authorization": `WSSE profile="UsernameToken"`}},
			{"header", deliver.Config{URL: s.URL, Method: "PUT", Auth: deliver.Auth{Type: deliver.AuthHeader, Name: "X-Api-Key", Secret: deliver.Value{Text: "k"}}},
				pipeline.Record{}, "/", map[string]string{"X-Api-Key": "k"}},
		}
		for i, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				h := newHTTP(t, test.config)
				m := message(test.record)
				if test.config.Gzip != nil {
					m.Encoding = "gzip"
				}
				if a := h.Send(t.Context(), m); a.Reason != deliver.ReasonDelivered || a.Status != 200 {
					t.Fatalf("answer %+v", a)
				}
				got := s.all()[i]
				if got.RequestURI != test.uri {
					t.Errorf("asked for %s, want %s", got.RequestURI, test.uri)
				}
				if !bytes.Equal(got.body, test.record.Data) {
					t.Errorf("body %q, want %q", got.body, test.record.Data)
				}
				if id := got.Header.Get("Idempotency-Key"); len(id) != 64 {
					t.Errorf("Idempotency-Key %q, want 64 characters", id)
				}
				method := test.config.Method
				if method == "" {
					method = "POST"
				}
				if got.Method != method {
					t.Errorf("method %s, want %s", got.Method, method)
				}
				got.Header.Set("Host", got.Host)
				got.Header.Set("Content-Length", fmt.Sprint(got.ContentLength))
				for name, want := range test.want {
					value, there := got.Header[http.CanonicalHeaderKey(name)]
					if want == "-" && there || want != "-" && (len(value) != 1 || value[0] != want) {
						t.Errorf("%s is %q, want %q", name, value, want)
					}
				}
			})
		}
	})
}

func TestIdempotencyKeyNamesTheRecord(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, nil)
		h := newHTTP(t, deliver.Config{URL: s.URL})
		change := []func(*deliver.Message){
			func(*deliver.Message) {},
			func(m *deliver.Message) { m.Attempt = 9 }, // the same record
			func(m *deliver.Message) { m.Record.Position.Sub = 1 },
			func(m *deliver.Message) { m.Record.Position.Sequence = "4960" },
			func(m *deliver.Message) { m.Shard.Shard = "shardId-000000000001" },
			func(m *deliver.Message) { m.Shard.Stream.ARN += "2" },
			func(m *deliver.Message) { m.Shard.Stream.Created = time.Unix(1800000000, 0) },
			func(m *deliver.Message) { m.Shard.Command = "again-1" },
			func(m *deliver.Message) { m.Shard.Command = "again-2" },
			func(m *deliver.Message) { // what came after the command was not delivered before
				m.Shard.Command, m.Shard.Until, m.Record.Arrival = "again-3", time.Unix(1800000000, 0), time.Unix(1800000000, 0)
			},
		}
		seen := map[string]int{}
		for i, f := range change {
			m := message(pipeline.Record{})
			f(m)
			h.Send(t.Context(), m)
			id := s.all()[i].Header.Get("Idempotency-Key")
			if j, ok := seen[id]; ok != (i == 1 || i == len(change)-1) {
				t.Errorf("change %d has the key of %d (%v), want that of 0 for change 1 and the last alone", i, j, ok)
			}
			seen[id] = i
		}
	})
}

func TestSecretThatCannotBeRead(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, nil)
		for name, value := range map[string]func() (string, error){
			"error":   func() (string, error) { return "", errors.New("no such file") },
			"newline": func() (string, error) { return "hush\r\nX: y", nil },
		} {
			h := newHTTP(t, deliver.Config{URL: s.URL, Auth: deliver.Auth{Type: deliver.AuthBearer, Secret: deliver.Value{Secret: value}}})
			a := h.Send(t.Context(), message(pipeline.Record{}))
			if a.Reason != deliver.ReasonSecretUnavailable || a.Reason.Class() != deliver.Hold || strings.Contains(a.Detail, "hush") || !strings.Contains(a.Detail, "Authorization") {
				t.Errorf("%s: %+v, want a hold that names the header and no secret", name, a)
			}
		}
		if len(s.all()) != 0 {
			t.Error("something was sent without its credentials")
		}
	})
}

// A secret that changes is used without a restart.
func TestSecretIsReadAgain(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, nil)
		var reads atomic.Int64
		h := newHTTP(t, deliver.Config{URL: s.URL, Auth: deliver.Auth{Type: deliver.AuthBearer, Secret: deliver.Value{
			Secret: func() (string, error) { return fmt.Sprint("token", reads.Add(1)), nil }}}})
		synctest.Test(t, func(t *testing.T) {
			for _, want := range []string{"Bearer token1", "Bearer token1", "Bearer token2"} {
				wire, _ := h.Wire(message(pipeline.Record{}))
				if got := string(wire); !strings.Contains(got, "\r\nAuthorization: "+want+"\r\n") {
					t.Errorf("after %d reads %q, want %q", reads.Load(), got, want)
				}
				time.Sleep(3 * time.Second)
			}
		})
	})
}

func TestUnsendableKey(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, nil)
		h := newHTTP(t, deliver.Config{URL: s.URL + "/hotels/{key}/ota"})
		a := h.Send(t.Context(), message(pipeline.Record{Description: pipeline.Description{Key: ".."}}))
		if a.Reason != deliver.ReasonUnsendable || a.Reason.Class() != deliver.Refused || len(s.all()) != 0 {
			t.Errorf("%+v after %d requests, want refused and none", a, len(s.all()))
		}
	})
}

func TestBadConfiguration(t *testing.T) {
	const password = "hunter2"
	header := func(name, value string) deliver.Config {
		return deliver.Config{URL: "http://x/", Headers: []deliver.Header{{Name: name, Value: deliver.Value{Text: value}}}}
	}
	for want, c := range map[string]deliver.Config{
		"http://":             {URL: "ftp://x/" + password},
		"has no host":         {URL: "http:///" + password},
		"credentials belong":  {URL: "http://me:" + password + "@x/"},
		"not in the host":     {URL: "http://{key}.x/"},
		"unknown placeholder": {URL: "http://x/{hotel}"},
		"} without {":         {URL: "http://x/}" + password},
		"fragment":            {URL: "http://x/#" + password},
		"invalid URL escape":  {URL: "http://x/{key}%zz"},
		"port":                {URL: "http://x:y/"},
		"not a header's name": header("a b", "c"),
		"no header may have":  header("a", password+"\n"),
		"set by Shardline":    header("idempotency-key", "c"),
		"is no host":          header("host", "a/b"),
		"not an HTTP method":  {URL: "http://x/", Method: "PO ST"},
		"auth sets it too": {URL: "http://x/", Headers: []deliver.Header{{Name: "authorization", Value: deliver.Value{Text: "x"}}},
			Auth: deliver.Auth{Type: deliver.AuthBearer, Secret: deliver.Value{Text: password}}},
		"has no name": {URL: "http://x/", Auth: deliver.Auth{Type: deliver.AuthHeader}},
		"colon":       {URL: "http://x/", Auth: deliver.Auth{Type: deliver.AuthBasic, Username: "a:b"}},
	} {
		c.Name = "channel-7"
		_, err := deliver.NewHTTP(c)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "channel-7") || strings.Contains(err.Error(), password) {
			t.Errorf("%v, want %q, the name, and no secret", err, want)
		}
	}
	for want, c := range map[string]deliver.Config{
		"no name":      {URL: "http://x/", DeadLetters: &letterBox{}},
		"dead letters": {Name: "x", URL: "http://x/"},
	} {
		if _, err := deliver.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestMissingType: a message that is none has no place in a URL that names its
// type. To send it to another one would hold the destination.
func TestMissingType(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, nil)
		for _, template := range []string{"/ota/{type}", "/ota?t={type}"} {
			h := newHTTP(t, deliver.Config{URL: s.URL + template})
			if a := h.Send(t.Context(), message(pipeline.Record{})); a.Reason != deliver.ReasonUnsendable || !strings.Contains(a.Detail, "{type}") {
				t.Errorf("%s: %+v, want unsendable", template, a)
			}
			m := message(pipeline.Record{Description: pipeline.Description{Type: "OTA_PingRQ"}})
			if a := h.Send(t.Context(), m); a.Reason != deliver.ReasonDelivered {
				t.Errorf("%s: %+v, want delivered", template, a)
			}
		}
		if n := len(s.all()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

// FuzzRequest makes requests of records with any names in them, over both ways.
// The request must be one, in which the key can be read back and the path has
// the steps of the template.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][4]string{{"H1", "OTA_HotelAvailNotifRQ", "text/xml", "urn:a"}, {"..", "", "", ""}, {"a/b", "%2e", "x\r\ny", "\""},
		{"é\xff", "?a=b&c", ";", "\\"}, {"{type}", "{key}", "\x00", "\n"}} {
		f.Add(seed[0], seed[1], seed[2], seed[3], byte(1))
	}
	c := deliver.Config{Name: "channel", URL: "http://x/a/{key}/b-{type}?k={key}&t={type}"}
	fast, err := deliver.NewHTTP(c)
	if err != nil {
		f.Fatal(err)
	}
	slow, err := deliver.NewHTTP(c)
	if err != nil {
		f.Fatal(err)
	}
	slow.OverNetHTTP(c)
	f.Fuzz(func(t *testing.T, key, kind, media, action string, soap byte) {
		d := pipeline.Description{Key: key, Type: kind, ContentType: media, Action: action, SOAP: []string{"", "1.1", "1.2"}[soap%3]}
		m := message(pipeline.Record{Data: []byte("body")})
		m.Record.Description = d
		wire, failed := fast.Wire(m)
		other, failedToo := slow.Wire(m)
		if wire == nil || other == nil {
			if wire != nil || other != nil || failed.Reason != deliver.ReasonUnsendable || failedToo.Reason != deliver.ReasonUnsendable || key != "." && key != ".." && kind != "" {
				t.Fatalf("key %q: %+v and %+v", key, failed, failedToo)
			}
			return
		}
		checkWire(t, d, wire)
		checkWire(t, d, other)
	})
}

// checkWire reads a request of FuzzRequest.
func checkWire(t *testing.T, d pipeline.Description, wire []byte) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(wire))
	got, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("%+v: %v", d, err)
	}
	path, query, _ := strings.Cut(got.RequestURI, "?")
	steps := strings.Split(path, "/")
	values, err := url.ParseQuery(query)
	if err != nil || len(steps) != 4 || len(values) != 2 || values.Get("k") != d.Key || values.Get("t") != d.Type {
		t.Errorf("%+v became %s", d, got.RequestURI)
	}
	if back, err := url.PathUnescape(steps[2]); back != d.Key || err != nil {
		t.Errorf("key %q became step %q", d.Key, steps[2])
	}
	if back, err := url.PathUnescape(got.Header.Get("X-Shardline-Key")); back != d.Key || err != nil {
		t.Errorf("key %q became header %q", d.Key, got.Header.Get("X-Shardline-Key"))
	}
	if body, err := io.ReadAll(got.Body); string(body) != "body" || err != nil || len(got.Header) > 8 {
		t.Errorf("%+v: body %q (%v), headers %v", d, body, err, got.Header)
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("%+v: %q behind the request", d, rest)
	}
}
