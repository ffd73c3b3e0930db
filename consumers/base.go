package consumers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"go.uber.org/zap"
)

// maxIdleConns keeps one connection per shard that a worker may read, and some
// for the lease table; the SDK's 10 per host would open one anew for most reads.
const maxIdleConns = 256

// BaseConfig says which credentials are Shardline's own.
type BaseConfig struct {
	Region      string // empty: the SDK's own settings decide
	Profile     string // of the shared configuration files; empty: the SDK's default
	Role        *Role  // assumed first; nil: the default chain's credentials are the base
	Application string // default session name
	Metrics     *Metrics
	Logger      *zap.Logger
}

// NewBase loads the base configuration, which sources and lease tables share.
// Endpoints, retries and certificates are the SDK's own settings
// (AWS_ENDPOINT_URL and its like). The Credentials are nil without a base role;
// their Run may be called all the same, and refreshes them while it runs.
func NewBase(ctx context.Context, c BaseConfig) (aws.Config, *Credentials, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns = 2 * maxIdleConns
			t.MaxIdleConnsPerHost = maxIdleConns
		})),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	base, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	base.HTTPClient = plainBody{base.HTTPClient}
	if c.Role == nil {
		return base, nil, nil
	}
	credentials := NewCredentials(CredentialsConfig{
		Name: baseName, Role: *c.Role, Application: c.Application,
		STS: sts.NewFromConfig(base), Base: base.Credentials,
		Metrics: c.Metrics, Logger: c.Logger,
	})
	base.Credentials = credentials
	return base, credentials, nil
}

// baseName is the base role's value of the label "source".
const baseName = "base"

// ClientConfig says how a stream is reached.
type ClientConfig struct {
	Name        string // of the source, for metrics and logs
	StreamARN   string // its region is where the calls go
	Role        *Role  // nil: the base credentials
	Application string // default session name
	Base        aws.Config
	Metrics     *Metrics
	Logger      *zap.Logger
}

// NewClient returns a Kinesis client for a stream, and the credentials of the
// role, nil without one, which Run keeps fresh. An error means that the ARN is
// none of a stream.
func NewClient(c ClientConfig) (*kinesis.Client, *Credentials, error) {
	stream, err := parseStream(c.StreamARN)
	if err != nil {
		return nil, nil, err
	}
	base := c.Base.Copy()
	if base.Region == "" {
		base.Region = stream.Region // of the role's service
	}
	var credentials *Credentials
	if c.Role != nil {
		credentials = NewCredentials(CredentialsConfig{
			Name: c.Name, Role: *c.Role, Application: c.Application,
			STS: sts.NewFromConfig(base), Base: base.Credentials,
			Metrics: c.Metrics, Logger: c.Logger,
		})
		base.Credentials = credentials
	}
	base.Region = stream.Region
	return kinesis.NewFromConfig(base), credentials, nil
}

// streamResource is how a stream's ARN names it: stream/NAME.
const streamResource = "stream/"

func parseStream(text string) (arn.ARN, error) {
	a, err := arn.Parse(text)
	if err != nil {
		return arn.ARN{}, fmt.Errorf("stream %q: not an ARN such as arn:aws:kinesis:eu-west-1:111111111111:stream/hotels", text)
	}
	if a.Service != "kinesis" || a.Region == "" || a.AccountID == "" || len(a.Resource) <= len(streamResource) || a.Resource[:len(streamResource)] != streamResource {
		return arn.ARN{}, fmt.Errorf("stream %q: not the ARN of a Kinesis stream, arn:aws:kinesis:REGION:ACCOUNT:stream/NAME", text)
	}
	return a, nil
}

// backoff is the pause after the nth failure in a row, n from 1: it doubles
// from initial to longest, and half of it is random.
func backoff(n int, initial, longest time.Duration) time.Duration {
	d := longest
	if shift := n - 1; shift < 30 {
		d = min(longest, initial<<shift)
	}
	return d/2 + rand.N(d/2+1)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
