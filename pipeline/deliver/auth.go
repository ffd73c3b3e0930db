package deliver

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the protocol's
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// headers are those that authenticate a request.
func (a Auth) headers() ([]Header, error) {
	const name = "Authorization"
	switch a.Type {
	case AuthNone:
		return nil, nil
	case AuthBasic:
		if strings.Contains(a.Username, ":") {
			return nil, errors.New("auth: a basic user's name must not have a colon")
		}
		return []Header{{name, a.Secret.with(func(password string) string {
			return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+password))
		})}}, nil
	case AuthBearer:
		return []Header{{name, a.Secret.with(func(token string) string { return "Bearer " + token })}}, nil
	case AuthHeader:
		if a.Name == "" {
			return nil, errors.New("auth: the header has no name")
		}
		return []Header{{a.Name, a.Secret}}, nil
	case AuthWSSE:
		if !quotable(a.Username) || a.Username == "" {
			return nil, errors.New("auth: a wsse user's name must not be empty or have quotes, backslashes or control characters")
		}
		read := a.Secret.Secret
		if read == nil {
			read = func() (string, error) { return a.Secret.Text, nil }
		}
		token := Value{Secret: read, Fresh: true, Refused: a.Secret.Refused}
		return []Header{{name, Value{Text: `WSSE profile="UsernameToken"`}}, {"X-WSSE", token.with(func(password string) string {
			var nonce [16]byte
			rand.Read(nonce[:]) //nolint:errcheck // never fails
			return usernameToken(a.Username, password, nonce[:], time.Now())
		})}}, nil
	}
	return nil, fmt.Errorf("auth: unknown type %d", a.Type)
}

// usernameToken is the UsernameToken of WS-Security with a password digest, as
// the header X-WSSE has it: the digest is the SHA-1 of nonce, time and password.
func usernameToken(user, password string, nonce []byte, now time.Time) string {
	created := now.UTC().Format(time.RFC3339)
	digest := sha1.New() //nolint:gosec // the protocol's
	digest.Write(nonce)
	digest.Write([]byte(created))
	digest.Write([]byte(password))
	return fmt.Sprintf(`UsernameToken Username="%s", PasswordDigest="%s", Nonce="%s", Created="%s"`, user,
		base64.StdEncoding.EncodeToString(digest.Sum(nil)), base64.StdEncoding.EncodeToString(nonce), created)
}
