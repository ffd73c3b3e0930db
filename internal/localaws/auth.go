package localaws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Credentials are the keys of an account or of a role session.
type Credentials struct {
	AccountID       string
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string    // empty for an account's own keys
	Expires         time.Time // zero for an account's own keys
}

// String names the key and hides the secret.
func (c Credentials) String() string { return c.AccessKeyID + " of account " + c.AccountID }

// GoString keeps the secret out of %#v too.
func (c Credentials) GoString() string { return c.String() }

// identity is who a request is made by.
type identity struct {
	account string
	arn     string
	userID  string
	role    *role // nil: the account's own key, which may do everything in its account
}

// accessKey is a key that the server has given out. All but the cache is
// fixed at creation.
type accessKey struct {
	Credentials
	identity

	mu      sync.Mutex // guards signing
	signing map[string][]byte
}

const (
	// maxSkew is how far a request's signing time may be from the server's.
	maxSkew = 5 * time.Minute
	// maxSigningKeys bounds the signing keys cached per access key: one per
	// day, region and service.
	maxSigningKeys = 32
	amzTime        = "20060102T150405Z"
)

// authenticate checks the request's Signature Version 4 and sets the caller
// and region.
func (s *Server) authenticate(c *call, r *http.Request) *apiError {
	const scheme = "AWS4-HMAC-SHA256 "
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return c.authError(missingToken, "Missing Authentication Token")
	}
	fields, ok := strings.CutPrefix(authorization, scheme)
	if !ok {
		return c.authError(incompleteSignature, "Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is")
	}
	var credential, signedHeaders, signature string
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			signedHeaders = value
		case "Signature":
			signature = value
		}
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || scope[4] != "aws4_request" || signedHeaders == "" || signature == "" {
		return c.authError(incompleteSignature, "Authorization header requires Credential, Signature and SignedHeaders")
	}
	if scope[3] != c.service {
		return c.authError(badSignature, "Credential should be scoped to correct service: '"+c.service+"'.")
	}
	s.mu.RLock()
	key := s.keys[scope[0]]
	s.mu.RUnlock()
	if key == nil || key.SessionToken != r.Header.Get("X-Amz-Security-Token") {
		return c.authError(unknownToken, "The security token included in the request is invalid.")
	}
	sent := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(amzTime, sent)
	if err != nil || sent[:8] != scope[1] {
		return c.authError(badSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
	}
	now := s.now()
	if s.wallClock {
		text := now.UTC().Format(amzTime)
		if least := now.Add(-maxSkew); at.Before(least) {
			return c.authError(badSignature, "Signature expired: "+sent+" is now earlier than "+least.UTC().Format(amzTime)+" ("+text+" - 5 min.)")
		}
		if most := now.Add(maxSkew); at.After(most) {
			return c.authError(badSignature, "Signature not yet current: "+sent+" is still later than "+most.UTC().Format(amzTime)+" ("+text+" + 5 min.)")
		}
	}
	sum := sha256.Sum256(c.body)
	payload := hex.EncodeToString(sum[:])
	if sent := r.Header.Get("X-Amz-Content-Sha256"); c.s3 != nil && sent != "" {
		if len(sent) == len(payload) && sent != payload {
			return &apiError{code: "XAmzContentSHA256Mismatch", message: "The provided 'x-amz-content-sha256' header does not match what was computed."}
		}
		payload = sent // or it says that the payload is not signed
	}
	canonical := canonicalRequest(r, signedHeaders, payload, c.s3 == nil)
	digest := sha256.Sum256([]byte(canonical))
	toSign := strings.TrimSpace(scheme) + "\n" + sent + "\n" + strings.Join(scope[1:], "/") + "\n" + hex.EncodeToString(digest[:])
	want := hex.EncodeToString(hmacSHA256(key.signingKey(scope[1], scope[2], scope[3]), toSign))
	if !hmac.Equal([]byte(want), []byte(signature)) {
		return c.authError(badSignature, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
	}
	if !slices.Contains(strings.Split(signedHeaders, ";"), "host") {
		return c.authError(badSignature, "'Host' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if !key.Expires.IsZero() && !now.Before(key.Expires) {
		return c.authError(expiredToken, "The security token included in the request is expired")
	}
	c.caller, c.region = &key.identity, scope[2]
	return nil
}

// Reasons why a request is not authenticated.
const (
	missingToken = iota
	incompleteSignature
	badSignature
	unknownToken
	expiredToken
)

// authError names a reason as the service called does: STS with the query
// protocol's names and status 403.
func (c *call) authError(reason int, message string) *apiError {
	names := [...][2]string{
		missingToken:        {"MissingAuthenticationTokenException", "MissingAuthenticationToken"},
		incompleteSignature: {"IncompleteSignatureException", "IncompleteSignature"},
		badSignature:        {"InvalidSignatureException", "SignatureDoesNotMatch"},
		unknownToken:        {"UnrecognizedClientException", "InvalidClientTokenId"},
		expiredToken:        {"ExpiredTokenException", "ExpiredToken"},
	}
	switch c.service {
	case "sts", "sns":
		return &apiError{status: http.StatusForbidden, code: names[reason][1], message: message}
	case "s3":
		return &apiError{status: http.StatusForbidden, code: s3Names[reason], message: message}
	}
	return &apiError{code: names[reason][0], message: message}
}

// s3Names are those that S3 has for the reasons.
var s3Names = [...]string{missingToken: "AccessDenied", incompleteSignature: "AuthorizationHeaderMalformed",
	badSignature: "SignatureDoesNotMatch", unknownToken: "InvalidAccessKeyId", expiredToken: "ExpiredToken"}

func (k *accessKey) signingKey(day, region, service string) []byte {
	scope := day + "/" + region + "/" + service
	k.mu.Lock()
	defer k.mu.Unlock()
	if key := k.signing[scope]; key != nil {
		return key
	}
	key := hmacSHA256([]byte("AWS4"+k.SecretAccessKey), day)
	key = hmacSHA256(key, region)
	key = hmacSHA256(key, service)
	key = hmacSHA256(key, "aws4_request")
	if k.signing == nil || len(k.signing) >= maxSigningKeys {
		k.signing = map[string][]byte{}
	}
	k.signing[scope] = key
	return key
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalRequest follows "Create a signed AWS API request" of the IAM user
// guide.
func canonicalRequest(r *http.Request, signedHeaders, payloadHash string, escapeTwice bool) string {
	var b strings.Builder
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if path != "/" && escapeTwice { // as all services but S3 want it
		path = strings.ReplaceAll(url.QueryEscape(path), "%2F", "/")
		path = strings.ReplaceAll(path, "+", "%20")
	}
	b.WriteString(r.Method + "\n" + path + "\n")
	if r.URL.RawQuery != "" {
		b.WriteString(strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20"))
	}
	b.WriteByte('\n')
	for name := range strings.SplitSeq(signedHeaders, ";") {
		b.WriteString(name)
		b.WriteByte(':')
		switch name {
		case "host":
			b.WriteString(r.Host)
		case "content-length":
			b.WriteString(strconv.FormatInt(r.ContentLength, 10))
		default:
			for i, value := range r.Header.Values(name) {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString(strings.Join(strings.Fields(value), " "))
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n" + signedHeaders + "\n" + payloadHash)
	return b.String()
}
