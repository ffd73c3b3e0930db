package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/shardline/shardline/pipeline/filter"
)

// eachDestination checks the destinations.
func (l *loading) eachDestination(c *Config) {
	names := map[string]string{}
	for i := range c.Destinations {
		d, path := &c.Destinations[i], fmt.Sprintf("destinations[%d]", i)
		l.name(path+".name", d.Name, names)
		if d.Name == allDestinations {
			l.addf(path+".name", "%s stands for all destinations", l.found(path+".name"))
		}
		l.receiver(c, path, d)
		l.delivery(path, &d.Delivery, false)
		l.filter(c, path+".filter", d)
		switch {
		case d.DeadLetters != "":
			l.queue(c, path+".dead_letters", d.DeadLetters)
		case d.OnExhausted == OnExhaustedDeadLetter:
			l.addf(path+".dead_letters", "a dead letter queue is required unless on_exhausted is hold_key or hold_destination")
		}
	}
}

// What may be before_trim: the retention is known to a minute, and 24 hours at
// least.
const (
	leastBeforeTrim = 5 * time.Minute
	mostBeforeTrim  = 12 * time.Hour
)

// filter checks which records a destination gets.
func (l *loading) filter(c *Config, path string, d *Destination) {
	if d.Filter == "" {
		return
	}
	f, err := filter.Parse(d.Filter)
	if err != nil {
		l.addf(path, "%v; allowed is a condition such as hotel in [10023, 10024] && type != OTA_HotelResNotifRQ", err)
		return
	}
	var sources []string
	for i := range c.Sources {
		if s := &c.Sources[i]; slices.Contains(s.SubscriberNames(c), d.Name) {
			sources = append(sources, s.Name)
		}
	}
	for _, name := range f.Sources() {
		if !slices.Contains(sources, name) {
			l.addf(path, "the destination is no subscriber of a source %q%s", name, didYouMean(name, sources))
		}
	}
}

// delivery checks the common fields; of a destination only those that it
// names itself, since the others are checked where they stand.
func (l *loading) delivery(path string, d *Delivery, common bool) {
	own := func(names ...string) bool {
		return common || slices.ContainsFunc(names, func(name string) bool { return l.names(path + "." + name) })
	}
	if own("timeout") {
		l.positive(path+".timeout", d.Timeout)
	}
	if own("concurrency") && (d.Concurrency < 1 || d.Concurrency > 4096) {
		l.addf(path+".concurrency", "%s is not allowed; allowed: 1 to 4096", l.found(path+".concurrency"))
	}
	for _, limit := range []struct {
		name  string
		value float64
	}{{"rate_limit", d.RateLimit}, {"key_rate_limit", d.KeyRateLimit}} {
		if at := path + "." + limit.name; own(limit.name) && limit.value != 0 && !(limit.value >= 0.001 && limit.value <= 1_000_000) {
			l.addf(at, "%s is not allowed; allowed: 0.001 to 1000000, or 0 for no limit", l.found(at))
		}
	}
	if own("codes") {
		l.codes(path+".codes", d, common)
	}
	if own("breaker.failures") {
		l.least(path+".breaker.failures", d.Breaker.Failures, 0)
	}
	if own("breaker.open_for") {
		l.positive(path+".breaker.open_for", d.Breaker.OpenFor)
	}
	if at := path + ".before_trim"; own("before_trim") && d.BeforeTrim != 0 && (d.BeforeTrim < leastBeforeTrim || d.BeforeTrim > mostBeforeTrim) {
		l.addf(at, "%s is not allowed; allowed: 5m to 12h, or 0 to wait", l.found(at))
	}
	retry := path + ".retry"
	if !own("retry") {
		return
	}
	if own("retry.initial") {
		l.positive(retry+".initial", d.Retry.Initial)
	}
	if own("retry.max") {
		l.positive(retry+".max", d.Retry.Max)
	}
	if own("retry.initial", "retry.max") && d.Retry.Max > 0 && d.Retry.Initial > d.Retry.Max {
		at, other := retry+".max", "initial is"
		if !l.names(at) {
			at, other = retry+".initial", "max is"
		}
		l.addf(at, "initial is above max (%s %s)", other, shownDuration(l, retry, other, d))
	}
	if own("retry.multiplier") && (d.Retry.Multiplier < 1 || d.Retry.Multiplier > 100) {
		l.addf(retry+".multiplier", "%s is not allowed; allowed: 1 to 100", l.found(retry+".multiplier"))
	}
	if own("retry.max_attempts") {
		l.least(retry+".max_attempts", d.Retry.MaxAttempts, 0)
	}
	if own("retry.max_age") && d.Retry.MaxAge < 0 {
		l.addf(retry+".max_age", "%s is not allowed; allowed: at least 0", l.found(retry+".max_age"))
	}
}

// shownDuration is the other bound, as a message may show it: as the file has
// it, or the inherited value.
func shownDuration(l *loading, retry, other string, d *Delivery) string {
	name, value := "initial", d.Retry.Initial
	if other == "max is" {
		name, value = "max", d.Retry.Max
	}
	if at := retry + "." + name; l.names(at) {
		return l.found(at)
	}
	if at := "delivery.retry." + name; l.names(at) {
		return l.found(at)
	}
	return value.String()
}

// codes checks the codes of a destination, or the common ones.
func (l *loading) codes(path string, d *Delivery, common bool) {
	seen := map[string]string{}
	for _, list := range []struct {
		name  string
		codes []string
	}{{"retryable", d.Codes.Retryable}, {"permanent", d.Codes.Permanent}, {"hold", d.Codes.Hold}} {
		for i, code := range list.codes {
			at := fmt.Sprintf("%s.%s[%d]", path, list.name, i)
			if !l.names(at) { // inherited, or no list
				at = path
			}
			status, isStatus := strings.CutPrefix(code, "http:")
			n, err := strconv.Atoi(status)
			switch {
			case isStatus && (err != nil || n < 300 || n > 599 || len(status) != 3):
				l.addf(at, "%s is not an HTTP status that can be set; allowed: http:300 to http:599", quote(code))
			case !isStatus && !codePattern.MatchString(strings.TrimPrefix(code, "type:")):
				l.addf(at, "%s is not a code; allowed: an OpenTravel code such as 450, type:12, http:409", quote(code))
			case !isStatus && !common && d.Response != ResponseOpenTravel:
				l.addf(at, "%s is read with response: opentravel only; an HTTP status is http:%s", quote(code), code)
			case seen[code] != "":
				l.addf(at, "%s stands in %s already", quote(code), seen[code])
			}
			seen[code] = list.name
		}
	}
}

// codePattern is what OpenTravel codes look like.
var codePattern = regexp.MustCompile(`^[0-9A-Za-z._-]{1,32}$`)

// placeholders is what a URL template may contain.
var placeholders = []string{"{key}", "{type}", "{sequence_number}", "{source}"}

var bracePattern = regexp.MustCompile(`\{[^{}]*\}|[{}]`)

func (l *loading) url(path, template string) {
	if template == "" {
		l.addf(path, "the address is required with type: http")
		return
	}
	// Nothing of the address is shown: it may come from the environment or
	// carry credentials.
	const absolute = "an absolute http or https URL such as https://partner.example.com/ota"
	plain := bracePattern.ReplaceAllStringFunc(template, func(found string) string {
		if !slices.Contains(placeholders, found) {
			shown := ""
			if s, ok := l.places[path]; ok && strings.Contains(s.n.source, found) {
				shown = " " + quote(found) + didYouMean(found, placeholders)
			}
			l.addf(path, "an unknown placeholder%s; allowed: %s", shown, strings.Join(placeholders, ", "))
		}
		return "x-placeholder-x"
	})
	u, err := url.Parse(plain)
	switch {
	case err != nil:
		l.addf(path, "it is not a URL; allowed: %s", absolute)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		l.addf(path, "it is not %s", absolute)
	case u.User != nil:
		l.addf(path, "it has a user or password in it: they belong into auth: {type: basic, username: …, password: …}")
	case strings.Contains(u.Host, "x-placeholder-x"):
		l.addf(path, "a placeholder in the host is not allowed; allowed: only in path and query")
	case u.Fragment != "":
		l.addf(path, "it has a fragment (#…), which no request carries: write %%23 for a literal #")
	case u.Port() != "":
		if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
			l.addf(path, "its port is not 1 to 65535")
		}
	}
}

var tokenPattern = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$")

// headerTaken says why a header cannot be configured, empty when it can.
func headerTaken(name string) string {
	switch canonical := http.CanonicalHeaderKey(name); canonical {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive",
		"Proxy-Connection", "Te", "Trailer", "Upgrade":
		return "the connection itself sets it"
	case "Idempotency-Key":
		return "Shardline sets it"
	default:
		if strings.HasPrefix(canonical, "X-Shardline-") {
			return "Shardline sets it"
		}
	}
	return ""
}

func (l *loading) headers(path string, d *Destination) {
	seen := map[string]string{}
	names := make([]string, 0, len(d.Headers))
	for name := range d.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		at := join(path+".headers", name)
		l.headerName(at, name)
		canonical := http.CanonicalHeaderKey(name)
		if first, taken := seen[canonical]; taken {
			l.addf(at, "the same header as %s", quote(first))
		}
		seen[canonical] = name
		l.headerValue(at, d.Headers[name])
		if canonical == "Content-Encoding" && d.Compression == CompressionGzip {
			l.addf(at, "compression sets this header already")
		}
		if canonical == "Authorization" && slices.Contains([]string{AuthBasic, AuthBearer, AuthOAuth2, AuthWSSE}, d.Auth.Type) {
			l.addf(at, "auth sets this header already")
		}
		if d.Auth.Type == AuthWSSE && canonical == "X-Wsse" {
			l.addf(at, "auth sets this header already")
		}
		if d.Auth.Type == AuthHeader && canonical == http.CanonicalHeaderKey(d.Auth.Name) {
			l.addf(at, "auth sets this header already")
		}
	}
}

func (l *loading) headerName(at, name string) {
	if !tokenPattern.MatchString(name) {
		l.addf(at, "not a header's name: letters, digits and - without spaces")
	} else if taken := headerTaken(name); taken != "" {
		l.addf(at, "this header cannot be configured: %s", taken)
	}
}

// headerValue checks a value without showing it.
func (l *loading) headerValue(at string, value Secret) {
	text, err := value.Value()
	if err != nil {
		return // said already
	}
	for i := range len(text) {
		if c := text[i]; c < 0x20 && c != '\t' || c == 0x7f {
			l.addf(at, "a header's value cannot hold a line break or another control character")
			return
		}
	}
}

// auth checks that each type has its own fields and no others.
func (l *loading) auth(path string, a *Auth) {
	fields := []struct {
		name  string
		types []string
		set   bool // or may lack
	}{
		{"username", []string{AuthBasic, AuthWSSE}, a.Username != ""},
		{"password", []string{AuthBasic, AuthWSSE}, l.secretSet(path+".password", a.Password)},
		{"token", []string{AuthBearer}, l.secretSet(path+".token", a.Token)},
		{"name", []string{AuthHeader}, a.Name != ""},
		{"value", []string{AuthHeader}, l.secretSet(path+".value", a.Value)},
		{"token_url", []string{AuthOAuth2}, a.TokenURL != ""},
		{"client_id", []string{AuthOAuth2}, a.ClientID != ""},
		{"client_secret", []string{AuthOAuth2}, l.secretSet(path+".client_secret", a.ClientSecret)},
		{"scope", []string{AuthOAuth2}, true},
		{"audience", []string{AuthOAuth2}, true},
		{"client_auth", []string{AuthOAuth2}, true},
	}
	for _, f := range fields {
		at, belongs := path+"."+f.name, slices.Contains(f.types, a.Type)
		switch {
		case belongs && !f.set:
			l.addf(at, "it is required with type: %s", a.Type)
		case !belongs && l.names(at):
			l.addf(at, "it does not belong to type: %s, but to %s", a.Type, strings.Join(f.types, " and "))
		}
	}
	if a.Type == AuthBasic && strings.ContainsAny(a.Username, ":\r\n") {
		l.addf(path+".username", "a user's name cannot hold a colon or a line break")
	}
	if a.Type == AuthWSSE && (strings.ContainsAny(a.Username, `"\`) || strings.ContainsFunc(a.Username, unicode.IsControl)) {
		l.addf(path+".username", "a user's name cannot hold quotes, backslashes or control characters")
	}
	if u, err := url.Parse(a.TokenURL); a.TokenURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "") {
		l.addf(path+".token_url", "it is not an absolute http or https URL without user and fragment, such as https://login.example.com/oauth2/token")
	}
	if a.Type == AuthHeader && a.Name != "" {
		l.headerName(path+".name", a.Name)
	}
	l.headerValue(path+".token", a.Token)
	l.headerValue(path+".value", a.Value)
}

// tls checks that the files are there and belong together.
func (l *loading) tls(path string, d *Destination) {
	t, at := &d.TLS, path+".tls"
	if d.Auth.Type == AuthMTLS && t.Certificate == "" {
		l.addf(at+".certificate", "it is required with auth: {type: mtls}")
	}
	if *t == (TLS{}) {
		return
	}
	if u, err := url.Parse(bracePattern.ReplaceAllString(d.URL, "x")); err == nil && strings.EqualFold(u.Scheme, "http") {
		l.addf(at, "the url is not https")
	}
	if t.Roots != "" {
		if err := rootsIn(t.Roots); err != nil {
			l.addf(at+".roots", "%v", err)
		}
	}
	switch {
	case t.Certificate == "" && t.Key != "":
		l.addf(at+".certificate", "it is required with a key")
	case t.Certificate != "" && t.Key == "":
		l.addf(at+".key", "it is required with a certificate")
	case t.Certificate != "":
		if _, err := tls.LoadX509KeyPair(t.Certificate, t.Key); err != nil {
			l.addf(at+".certificate", "certificate and key cannot be used: %v", err)
		}
	}
}

// rootsIn says why a file has no certificates to trust.
func rootsIn(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return errors.New("there is no PEM certificate in the file")
	}
	return nil
}

// secretSet says whether there is a value that is not empty.
func (l *loading) secretSet(path string, s Secret) bool {
	if l.reported[path] || l.reportedBelow(path+".") {
		return true // said already
	}
	if _, _, managed := s.SecretsManager(); managed {
		return true
	}
	value, err := s.Value()
	return err == nil && value != ""
}
