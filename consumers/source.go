package consumers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

const (
	// requestTimeout bounds one call: a full read of 10 MB comes at 2 MB/s.
	requestTimeout = 30 * time.Second
	// maxPages bounds a listing: 1,000 shards a page make a million.
	maxPages = 1000
	// listTries and listPause bound the listings that resharding comes into: a
	// stream is resharded seldom, and the service lists a moment behind.
	listTries = 5
	listPause = 200 * time.Millisecond
)

// Client is what a Source calls to read by polling; *kinesis.Client has it.
type Client interface {
	DescribeStreamSummary(ctx context.Context, in *kinesis.DescribeStreamSummaryInput, options ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error)
	ListShards(ctx context.Context, in *kinesis.ListShardsInput, options ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
	GetShardIterator(ctx context.Context, in *kinesis.GetShardIteratorInput, options ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error)
	GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, options ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error)
}

// Config is a stream and the way to reach it.
type Config struct {
	Name         string
	StreamARN    string // its region is where the calls go
	Role         *Role  // nil: the base credentials
	Application  string // default session name
	PollInterval time.Duration
	OutOfRange   OutOfRange
	Consumer     string // reads by enhanced fan-out as the stream consumer of this name; empty: by polling
	Base         aws.Config
	Client       Client // nil: the service, with the role's credentials; else Role is not used; with Consumer a FanOutClient
	Metrics      *Metrics
	Logger       *zap.Logger
}

// OutOfRange says what becomes of an aggregated record with a user record whose
// hash key is not the shard's.
type OutOfRange int

const (
	// DropOutOfRange drops the whole aggregate, as the Kinesis Client Library
	// does: it was made before a split or merge, and its producer, which sees
	// from the answer that it came to another shard than expected, sends each
	// of its user records again.
	DropOutOfRange OutOfRange = iota
	// DeliverOutOfRange delivers it, for producers that do not send it again.
	DeliverOutOfRange
)

// Source is one stream. It implements pipeline.Source.
type Source struct {
	name        string
	arn         string
	account     string
	stream      string
	poll        time.Duration
	outOfRange  OutOfRange
	client      Client
	consumer    *consumer    // nil: reads by polling
	credentials *Credentials // nil: the base's
	metrics     *Metrics
	logger      *zap.Logger
}

var _ pipeline.Source = (*Source)(nil)

// NewSource wires a source. It calls nothing; an error means that the ARN is
// none of a stream.
func NewSource(c Config) (*Source, error) {
	stream, err := parseStream(c.StreamARN)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", c.Name, err)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	s := &Source{
		name: c.Name, arn: c.StreamARN, account: stream.AccountID,
		stream: strings.TrimPrefix(stream.Resource, streamResource),
		poll:   max(c.PollInterval, minPause), outOfRange: c.OutOfRange,
		client:  c.Client,
		metrics: c.Metrics, logger: c.Logger.With(zap.String("source", c.Name)),
	}
	if s.client == nil {
		client, credentials, err := NewClient(ClientConfig{Name: c.Name, StreamARN: c.StreamARN, Role: c.Role,
			Application: c.Application, Base: c.Base, Metrics: c.Metrics, Logger: c.Logger})
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", c.Name, err)
		}
		s.client, s.credentials = service{client}, credentials
	}
	s.metrics.addSource(s.name)
	if c.Consumer != "" {
		client, ok := s.client.(FanOutClient)
		if !ok {
			return nil, fmt.Errorf("source %s: its client has no enhanced fan-out", c.Name)
		}
		s.consumer = newConsumer(s, c.Consumer, client)
	}
	return s, nil
}

// Run keeps the source's credentials fresh and its stream consumer registered
// until ctx ends.
func (s *Source) Run(ctx context.Context) error {
	var all sync.WaitGroup
	if s.consumer != nil {
		all.Go(func() { s.consumer.run(ctx) })
	}
	err := s.credentials.Run(ctx)
	all.Wait()
	return err
}

// Name is the source's, as configured.
func (s *Source) Name() string { return s.name }

// Stream identifies the stream. Errors wrap pipeline.ErrStreamGone, ErrDenied
// or ErrThrottled where they are that.
func (s *Source) Stream(ctx context.Context) (pipeline.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	start := now()
	out, err := s.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: aws.String(s.arn)})
	if err != nil {
		return pipeline.Stream{}, streamFailed("describe stream "+s.arn, err)
	}
	if out.StreamDescriptionSummary == nil || out.StreamDescriptionSummary.StreamCreationTimestamp == nil {
		return pipeline.Stream{}, fmt.Errorf("describe stream %s: the answer has no creation time", s.arn)
	}
	created := out.StreamDescriptionSummary.StreamCreationTimestamp.UTC().Truncate(time.Second)
	return pipeline.Stream{ARN: s.arn, Account: s.account, Name: s.stream, Created: created,
		Retention: time.Duration(aws.ToInt32(out.StreamDescriptionSummary.RetentionPeriodHours)) * time.Hour,
		At:        serverTime(out.ResultMetadata, start)}, nil
}

// Shards lists every shard that the stream still knows, closed ones among
// them. The time is the service's, of the listing's last page: what is listed as
// closed was closed by then. A listing that a split or merge came into, so that
// a shard is open on one page and has children on another, is made again.
func (s *Source) Shards(ctx context.Context) ([]checkpoint.Shard, time.Time, error) {
	for try := range listTries {
		if err := pause(ctx, time.Duration(try)*listPause); err != nil {
			return nil, time.Time{}, fmt.Errorf("list shards of %s: %w", s.arn, context.Cause(ctx))
		}
		shards, at, err := s.listing(ctx)
		if err != nil || !torn(shards) {
			return shards, at, err
		}
	}
	return nil, time.Time{}, fmt.Errorf("list shards of %s: shards are listed as open although they have children", s.arn)
}

// torn says whether a listing has an open shard with children.
func torn(shards []checkpoint.Shard) bool {
	open := make(map[string]bool, len(shards))
	for _, shard := range shards {
		open[shard.ID] = !shard.Closed
	}
	return slices.ContainsFunc(shards, func(shard checkpoint.Shard) bool {
		return slices.ContainsFunc(shard.Parents, func(id string) bool { return open[id] })
	})
}

// listing makes one listing, page by page. A page is asked for by the last shard of the one before it, not by the
// service's token: the token must come without the stream's ARN, so that a
// stream of another account is looked for in the caller's, and it expires.
func (s *Source) listing(ctx context.Context) ([]checkpoint.Shard, time.Time, error) {
	var shards []checkpoint.Shard
	in := &kinesis.ListShardsInput{StreamARN: aws.String(s.arn)}
	for range maxPages {
		start := now()
		out, err := s.listPage(ctx, in)
		if err != nil {
			return nil, time.Time{}, streamFailed("list shards of "+s.arn, err)
		}
		if len(shards) > 0 && len(out.Shards) > 0 && aws.ToString(out.Shards[0].ShardId) == shards[0].ID {
			return nil, time.Time{}, fmt.Errorf("list shards of %s: the service gives the first page again and again", s.arn)
		}
		for _, shard := range out.Shards {
			shards = append(shards, listedShard(shard))
		}
		if aws.ToString(out.NextToken) == "" {
			return shards, serverTime(out.ResultMetadata, start), nil
		}
		if len(out.Shards) == 0 {
			return nil, time.Time{}, fmt.Errorf("list shards of %s: a page without shards that is not the last", s.arn)
		}
		in = &kinesis.ListShardsInput{StreamARN: in.StreamARN, ExclusiveStartShardId: out.Shards[len(out.Shards)-1].ShardId}
	}
	return nil, time.Time{}, fmt.Errorf("list shards of %s: no end after %d pages", s.arn, maxPages)
}

func (s *Source) listPage(ctx context.Context, in *kinesis.ListShardsInput) (*kinesis.ListShardsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return s.client.ListShards(ctx, in)
}

func listedShard(shard types.Shard) checkpoint.Shard {
	listed := checkpoint.Shard{ID: aws.ToString(shard.ShardId)}
	for _, parent := range []*string{shard.ParentShardId, shard.AdjacentParentShardId} {
		if aws.ToString(parent) != "" {
			listed.Parents = append(listed.Parents, *parent)
		}
	}
	if r := shard.HashKeyRange; r != nil {
		listed.HashFrom, listed.HashTo = aws.ToString(r.StartingHashKey), aws.ToString(r.EndingHashKey)
	}
	if r := shard.SequenceNumberRange; r != nil {
		listed.Start = aws.ToString(r.StartingSequenceNumber)
		listed.Closed = aws.ToString(r.EndingSequenceNumber) != ""
	}
	return listed
}

// Reader reads a shard from behind a position. It starts nothing before Read
// is called. Its metrics last longer than it: see Forget.
func (s *Source) Reader(shard checkpoint.Shard, from checkpoint.Position) pipeline.Reader {
	r := s.polling(shard, from, s.metrics.shard(s.name, shard.ID))
	if s.consumer == nil {
		return r
	}
	return &fanOut{reader: r, consumer: s.consumer}
}

// CatchUp reads a shard a second time, by polling. What it reads does not count
// in the metrics of the shard.
func (s *Source) CatchUp(shard checkpoint.Shard, from checkpoint.Position) pipeline.Reader {
	return s.polling(shard, from, s.metrics.uncounted())
}

func (s *Source) polling(shard checkpoint.Shard, from checkpoint.Position, m shardMetrics) *reader {
	return &reader{progress: progress{
		source: s, shard: shard.ID, from: from, hashKeys: rangeOf(shard),
		metrics: m,
		logger:  s.logger.With(zap.String("shard", shard.ID)),
	}}
}

// Forget removes the metrics of a shard that is no longer read.
func (s *Source) Forget(shard string) { s.metrics.forgetShard(s.name, shard) }

// streamFailed says why a call failed whose object is a stream.
func streamFailed(call string, err error) *failure {
	f := failed(call, err)
	if f.reason == reasonGone {
		f.meaning = pipeline.ErrStreamGone
	}
	return f
}
