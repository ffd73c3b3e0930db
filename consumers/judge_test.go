package consumers_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/shardline/shardline/consumers"
)

// judge is a service that tells good access keys from stale ones, and a client
// of it. It is used by one goroutine.
type judge struct {
	client  *kinesis.Client
	refuses []string // access keys
	took    time.Duration
}

func newJudge(c *consumers.Credentials) *judge {
	j := &judge{}
	config := aws.Config{Region: region, HTTPClient: j, Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
	c.Signs(&config)
	j.client = kinesis.NewFromConfig(config)
	return j
}

// stale sets the access keys that are no longer taken.
func (j *judge) stale(keys ...string) { j.refuses = keys }

func (j *judge) list(t *testing.T) error {
	_, err := j.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
	return err
}

// Do implements aws.HTTPClient.
func (j *judge) Do(r *http.Request) (*http.Response, error) {
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}
	authorization := r.Header.Get("Authorization")
	time.Sleep(j.took)
	if slices.ContainsFunc(j.refuses, func(key string) bool { return strings.Contains(authorization, "Credential="+key+"/") }) {
		answer.StatusCode = http.StatusBadRequest
		answer.Body = io.NopCloser(strings.NewReader(`{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}`))
	}
	return answer, nil
}
