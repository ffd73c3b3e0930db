package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardline/shardline/internal/bench"
)

// TestSendOverTLS: what the file says of tls and protocol is what is spoken.
func TestSendOverTLS(t *testing.T) {
	folder := t.TempDir()
	certificate, key, err := bench.Certificate(folder)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "HTTP/%d with %d certificates", r.ProtoMajor, len(r.TLS.PeerCertificates))
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	configuration := file("shardline.yaml", `application: trial
sources:
  - {name: hotels, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/hotels", initial_position: latest, subscribers: all_destinations}
delivery: {on_exhausted: hold_destination}
destinations:
  - {name: unknown, type: http, url: "`+server.URL+`/"}
  - {name: plain, type: http, url: "`+server.URL+`/", tls: {roots: certificate.pem}}
  - {name: mtls, type: http, url: "`+server.URL+`/", auth: {type: mtls}, tls: {roots: certificate.pem, certificate: certificate.pem, key: key.pem}}
  - {name: http2, type: http, url: "`+server.URL+`/", protocol: http2, tls: {roots: certificate.pem}}
  - {name: another-name, type: http, url: "`+server.URL+`/", tls: {roots: certificate.pem, server_name: partner.example.com}}
`)
	for destination, want := range map[string]string{
		"unknown": "tls: ", "plain": "HTTP/1 with 0 certificates", "mtls": "HTTP/1 with 1 certificates", "http2": "HTTP/2 with 0 certificates",
		"another-name": "partner.example.com",
	} {
		var stdout, stderr bytes.Buffer
		run(context.Background(), []string{"send", "--config", configuration, "--destination", destination, "--key", "H1", file("message", "x")},
			environment{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }})
		if text := stdout.String() + stderr.String(); !strings.Contains(text, want) {
			t.Errorf("%s: want %q in\n%s", destination, want, text)
		}
	}
}
