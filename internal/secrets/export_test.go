package secrets

import "net/http"

// SetTransport takes the place of the network.
func (t *Token) SetTransport(r http.RoundTripper) { t.client.Transport = r }

// ParseToken reads a token endpoint's answer.
var ParseToken = parseToken
