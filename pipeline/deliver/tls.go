package deliver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// TLS is how https is spoken with a destination. The zero value trusts the
// system's roots and shows no certificate.
type TLS struct {
	Roots       string // PEM file of the certificates to trust; empty: the system's
	Certificate string // PEM file of our own certificate, with its chain; empty: none
	Key         string // PEM file of its key
	ServerName  string // the name in the receiver's certificate; empty: the URL's host
}

// config is what the transports take; nil: no TLS is spoken.
func (t TLS) config(base *url.URL) (*tls.Config, error) {
	if strings.ToLower(base.Scheme) != "https" {
		if t != (TLS{}) {
			return nil, errors.New("tls: the URL is not https")
		}
		return nil, nil
	}
	c := &tls.Config{ServerName: t.ServerName}
	if c.ServerName == "" {
		c.ServerName = base.Hostname()
	}
	if t.Roots != "" {
		pem, err := os.ReadFile(t.Roots)
		if err != nil {
			return nil, fmt.Errorf("tls: roots: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls: roots: no PEM certificate in %s", t.Roots)
		}
	}
	switch {
	case t.Certificate == "" && t.Key == "":
		return c, nil
	case t.Certificate == "" || t.Key == "":
		return nil, errors.New("tls: certificate and key belong together")
	}
	if _, err := tls.LoadX509KeyPair(t.Certificate, t.Key); err != nil {
		return nil, fmt.Errorf("tls: certificate: %w", err)
	}
	// Read at every handshake: a renewed certificate is used without a restart.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, fmt.Errorf("our own certificate: %w", err)
		}
		return &pair, nil
	}
	return c, nil
}

// tlsRefused says whether one side did not accept the other, or does not speak
// TLS at all.
func tlsRefused(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		record tls.RecordHeaderError
		alert  *net.OpError
	)
	return errors.As(err, &verify) || errors.As(err, &record) ||
		errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error")
}
