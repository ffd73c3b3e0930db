package deliver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = writePEM(t, "roots.pem", "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sign writes a certificate for a name, that is valid until a time, and its key.
func (a *authority) sign(name string, until time.Time) (certificate, key string) {
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	k := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return writePEM(a.t, "certificate.pem", "CERTIFICATE", der), writePEM(a.t, "key.pem", "PRIVATE KEY", keyDER)
}

// secureServer answers with the name in the client's certificate and the
// protocol.
func secureServer(t *testing.T, a *authority, name string, until time.Time, configure func(*httptest.Server)) string {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Length", "0")
		if want := r.Header.Get("X-Size"); want != "" && len(body) != 1<<20 {
			t.Errorf("%d bytes arrived", len(body))
		}
		for _, c := range r.TLS.PeerCertificates {
			w.Header().Set("Retry-After", map[string]string{"one": "1", "two": "2"}[c.Subject.CommonName])
		}
		if r.ProtoMajor == 2 {
			w.WriteHeader(http.StatusTooManyRequests)
		} else {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	certificate, key := a.sign(name, until)
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if configure != nil {
		configure(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestTLS(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		a, other := newAuthority(t), newAuthority(t)
		later := time.Now().Add(time.Hour)
		good := secureServer(t, a, "127.0.0.1", later, nil)
		plain := newServer(t, nil)
		for _, test := range []struct {
			name   string
			url    string
			tls    deliver.TLS
			want   deliver.Reason
			detail string
		}{
			{"our roots", good, deliver.TLS{Roots: a.file}, deliver.ReasonServerError, "503"},
			{"the system's roots", good, deliver.TLS{}, deliver.ReasonTLS, "unknown authority"},
			{"other roots", good, deliver.TLS{Roots: other.file}, deliver.ReasonTLS, "unknown authority"},
			{"expired", secureServer(t, a, "127.0.0.1", time.Now().Add(-time.Minute), nil), deliver.TLS{Roots: a.file}, deliver.ReasonTLS, "expired"},
			{"another name", secureServer(t, a, "partner.example", later, nil), deliver.TLS{Roots: a.file}, deliver.ReasonTLS, "127.0.0.1"},
			{"the name that is configured", secureServer(t, a, "partner.example", later, nil), deliver.TLS{Roots: a.file, ServerName: "partner.example"}, deliver.ReasonServerError, "503"},
			{"no TLS there", strings.Replace(plain.URL, "http:", "https:", 1), deliver.TLS{}, deliver.ReasonTLS, "does not look like a TLS handshake"},
		} {
			h := newHTTP(t, deliver.Config{URL: test.url, TLS: test.tls})
			for range 2 { // the second time over the same connection, or with the same refusal
				got := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")}))
				// net/http has a word of its own for a plain answer.
				if got.Reason != test.want && !strings.Contains(got.Detail, "HTTP response to HTTPS client") ||
					!strings.Contains(got.Detail, test.detail) && !strings.Contains(got.Detail, "HTTP response to HTTPS client") {
					t.Errorf("%s: %+v, want %s with %q", test.name, got, test.want, test.detail)
				}
			}
		}
		// A TLS port that is spoken to in plain words.
		h := newHTTP(t, deliver.Config{URL: strings.Replace(good, "https:", "http:", 1)})
		if got := h.Send(t.Context(), message(pipeline.Record{})); got.Reason != deliver.ReasonRejected || got.Status != 400 {
			t.Errorf("plain words to a TLS port: %+v", got)
		}
	})
}

// TestClientCertificates: a receiver that wants one gets it, also one that was
// renewed since the start.
func TestClientCertificates(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		a := newAuthority(t)
		pool := x509.NewCertPool()
		pool.AddCert(a.cert)
		url := secureServer(t, a, "127.0.0.1", time.Now().Add(time.Hour), func(s *httptest.Server) {
			s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, pool
			s.Config.SetKeepAlivesEnabled(false) // each attempt shakes hands
		})
		h := newHTTP(t, deliver.Config{URL: url, TLS: deliver.TLS{Roots: a.file}})
		if got := h.Send(t.Context(), message(pipeline.Record{})); got.Reason != deliver.ReasonTLS {
			t.Errorf("without a certificate: %+v", got)
		}
		certificate, key := a.sign("one", time.Now().Add(time.Hour))
		h = newHTTP(t, deliver.Config{URL: url, TLS: deliver.TLS{Roots: a.file, Certificate: certificate, Key: key}})
		for _, name := range []string{"one", "two"} {
			got := h.Send(t.Context(), message(pipeline.Record{Data: make([]byte, 1<<20)}))
			if want := map[string]float64{"one": 1, "two": 2}[name]; got.Status != 503 || got.RetryAfter.Seconds() != want {
				t.Errorf("%s: %+v", name, got)
			}
			renewed, renewedKey := a.sign("two", time.Now().Add(time.Hour))
			if err := os.Rename(renewed, certificate); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(renewedKey, key); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestProtocols: which one is spoken, is chosen; a receiver of HTTP/2 answers
// 429 here, one of HTTP/1.1 503.
func TestProtocols(t *testing.T) {
	a := newAuthority(t)
	both := secureServer(t, a, "127.0.0.1", time.Now().Add(time.Hour), func(s *httptest.Server) { s.EnableHTTP2 = true })
	alone := secureServer(t, a, "127.0.0.1", time.Now().Add(time.Hour), func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.TLS.NextProtos = []string{"h2"}
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP2(true)
	})
	clear := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Get("Idempotency-Key")) != 64 || r.Header.Get("SOAPAction") != `"urn:a"` {
			t.Errorf("%s request %v", r.Proto, r.Header)
		}
		w.WriteHeader(map[int]int{1: 503, 2: 429}[r.ProtoMajor])
	}))
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetHTTP1(true)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	defer clear.Close()
	for _, test := range []struct {
		name     string
		url      string
		protocol deliver.Protocol
		want     deliver.Reason
	}{
		{"auto", both, deliver.ProtocolAuto, deliver.ReasonServerError},
		{"http1", both, deliver.ProtocolHTTP1, deliver.ReasonServerError},
		{"http2", both, deliver.ProtocolHTTP2, deliver.ReasonThrottled},
		{"http2 alone", alone, deliver.ProtocolHTTP2, deliver.ReasonThrottled},
		{"auto in clear", clear.URL, deliver.ProtocolAuto, deliver.ReasonServerError},
		{"http2 in clear", clear.URL, deliver.ProtocolHTTP2, deliver.ReasonThrottled},
	} {
		c := deliver.Config{URL: test.url, Protocol: test.protocol}
		if test.url != clear.URL {
			c.TLS.Roots = a.file
		}
		m := message(pipeline.Record{Data: []byte("x"), Description: pipeline.Description{SOAP: "1.1", Action: "urn:a"}})
		if got := newHTTP(t, c).Send(t.Context(), m); got.Reason != test.want {
			t.Errorf("%s: %+v, want %s", test.name, got, test.want)
		}
	}
}

// TestProxy: a proxy of the environment is used, by net/http.
func TestProxy(t *testing.T) {
	// The environment is read once in a process; another one shows it.
	if os.Getenv("SHARDLINE_TEST_PROXY") == "" {
		runSelf(t, "TestProxy", "SHARDLINE_TEST_PROXY=1")
		return
	}
	proxy := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "partner.example" && r.URL.IsAbs() {
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	t.Setenv("HTTP_PROXY", proxy.URL)
	h := newHTTP(t, deliver.Config{URL: "http://partner.example/ota"})
	if got := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")})); got.Reason != deliver.ReasonThrottled {
		t.Errorf("%+v, want the proxy's answer", got)
	}
}

func TestBadTLS(t *testing.T) {
	a := newAuthority(t)
	certificate, key := a.sign("x", time.Now().Add(time.Hour))
	_, otherKey := a.sign("y", time.Now().Add(time.Hour))
	for _, test := range []struct {
		url  string
		tls  deliver.TLS
		want string
	}{
		{"http://x/", deliver.TLS{Roots: a.file}, "not https"},
		{"https://x/", deliver.TLS{Roots: "nowhere.pem"}, "nowhere.pem"},
		{"https://x/", deliver.TLS{Roots: key}, "no PEM certificate"},
		{"https://x/", deliver.TLS{Certificate: certificate}, "belong together"},
		{"https://x/", deliver.TLS{Key: key}, "belong together"},
		{"https://x/", deliver.TLS{Certificate: certificate, Key: otherKey}, "private key"},
	} {
		_, err := deliver.NewHTTP(deliver.Config{Name: "channel-7", URL: test.url, TLS: test.tls})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "channel-7") {
			t.Errorf("%+v: %v, want %q", test.tls, err, test.want)
		}
	}
}
