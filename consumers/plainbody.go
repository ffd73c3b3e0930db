package consumers

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// plainBody hides the WriterTo of the SDK's request bodies. The SDK closes a
// body as soon as the answer's header is there; a closed one answers WriteTo
// with an error where Read answers the end, and a transport that is still
// looking for the end then closes the connection in the middle of a large
// answer. The call is repeated after it took effect.
type plainBody struct{ client aws.HTTPClient }

// Do implements aws.HTTPClient.
func (p plainBody) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct {
			io.Reader
			io.Closer
		}{r.Body, r.Body}
	}
	return p.client.Do(r)
}
