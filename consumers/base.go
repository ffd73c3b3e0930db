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
	static "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"go.uber.org/zap"
)

// maxIdleConns keeps one connection per shard that a worker may read, and some
// for the lease table; the SDK's 10 per host would open one anew for most reads.
const maxIdleConns = 256

// pingAfter is how long an HTTP/2 connection may be silent before it is asked
// whether it lives, and how long the answer may take. All calls and
// subscriptions of an endpoint share one connection: one that died without a
// word would keep failing them until the kernel gives up, after a quarter of an
// hour.
const pingAfter = 15 * time.Second

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
// (AWS_ENDPOINT_URL and its like). The Credentials, if there are any, have to
// run while requests are made. They are nil where nothing has to be refreshed:
// without a base role, and with keys that are written down.
func NewBase(ctx context.Context, c BaseConfig) (aws.Config, *Credentials, error) {
	// The chain's own requests end by themselves: it goes on with one that its
	// caller gave up, and asks nothing else meanwhile.
	chain := awshttp.NewBuildableClient().WithTimeout(refreshTimeout)
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(chain),
		config.WithLogger(sdkLog(c.Logger)),
		config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = chain }),
		// Credentials ask ahead of the expiry that the provider names.
		config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 0 }),
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
	// What was loaded has the certificates of AWS_CA_BUNDLE.
	if loaded, ok := base.HTTPClient.(*awshttp.BuildableClient); ok {
		base.HTTPClient = loaded.WithTimeout(0).WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns = 2 * maxIdleConns
			t.MaxIdleConnsPerHost = maxIdleConns
			t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter}
		})
	}
	base.HTTPClient = plainBody{base.HTTPClient}
	var credentials *Credentials
	if !aws.IsCredentialsProvider(base.Credentials, static.StaticCredentialsProvider{}) {
		credentials = NewCredentials(CredentialsConfig{Name: baseName, Provider: base.Credentials, Metrics: c.Metrics, Logger: c.Logger})
		credentials.Signs(&base)
	}
	if c.Role != nil {
		assumed := newAssumed(base, baseRoleName, *c.Role, c.Application, c.Metrics, c.Logger)
		assumed.below = credentials
		assumed.Signs(&base)
		credentials = assumed
	}
	return base, credentials, nil
}

// sdkLog writes what the SDK has to say for debugging: what fails comes back as
// an error too.
func sdkLog(logger *zap.Logger) logging.Logger {
	return logging.LoggerFunc(func(_ logging.Classification, format string, values ...any) {
		if logger != nil {
			logger.Debug("the AWS SDK says", zap.String("text", fmt.Sprintf(format, values...)))
		}
	})
}

// The values of the label "source" for Shardline's own credentials: those of
// the default chain, and those of the base role.
const (
	baseName     = "base"
	baseRoleName = "base_role"
)

// newAssumed makes the credentials of a role that base assumes.
func newAssumed(base aws.Config, name string, role Role, application string, metrics *Metrics, logger *zap.Logger) *Credentials {
	return NewCredentials(CredentialsConfig{Name: name, Provider: AssumeRole(sts.NewFromConfig(base), role, application), Metrics: metrics, Logger: logger})
}

// AssumeConfig says as whom and where a service is called.
type AssumeConfig struct {
	Name        string // of the source, or of whatever else calls, for metrics and logs
	Region      string // empty: the base's
	Role        *Role  // nil: the base credentials
	Application string // default session name
	Base        aws.Config
	Metrics     *Metrics
	Logger      *zap.Logger
}

// Assume returns the configuration of clients for the service of a region, and
// the credentials of the role, nil without one, which have to run while the
// clients are used. It calls nothing.
func Assume(c AssumeConfig) (aws.Config, *Credentials) {
	base := c.Base.Copy()
	if base.Region == "" {
		base.Region = c.Region // of the role's service
	}
	var credentials *Credentials
	if c.Role != nil {
		credentials = newAssumed(base, c.Name, *c.Role, c.Application, c.Metrics, c.Logger)
		credentials.Signs(&base)
	}
	if c.Region != "" {
		base.Region = c.Region
	}
	return base, credentials
}

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
// role, nil without one, which have to run while the client is used. An error means that the ARN is
// none of a stream.
func NewClient(c ClientConfig) (*kinesis.Client, *Credentials, error) {
	stream, err := parseStream(c.StreamARN)
	if err != nil {
		return nil, nil, err
	}
	base, credentials := Assume(AssumeConfig{Name: c.Name, Region: stream.Region, Role: c.Role, Application: c.Application,
		Base: c.Base, Metrics: c.Metrics, Logger: c.Logger})
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
