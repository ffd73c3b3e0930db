package consumers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

const (
	// minPause keeps the service's limit of five reads per second and shard.
	minPause = 200 * time.Millisecond
	// maxRecords is the service's limit of one read.
	maxRecords = pipeline.ReadRecords
	// iteratorAge is when an iterator is no longer used: the service keeps it
	// for five minutes.
	iteratorAge = 4*time.Minute + 30*time.Second
	// readInitial and readLongest bound the back-off between failed reads.
	readInitial = 400 * time.Millisecond
	readLongest = 10 * time.Second
	// latestMargin covers the whole seconds of the service's date.
	latestMargin = time.Second
)

// reader polls one shard. It is owned by the goroutine that calls it.
type reader struct {
	progress
	refused bool // the service refused progress.from: read from the oldest record

	iterator string // empty: get one
	issued   time.Time
	anew     bool          // nothing was read with it, or one made of it, yet
	lag      time.Duration // of the last read

	ended bool           // iterator and children are through; say which ones follow
	end   pipeline.Batch // what every Read answers once End is set in it

	called   time.Time // start of the last GetRecords
	due      time.Time // of the next one
	failures int       // in a row
}

// once leaves repeating a call to the reader, which can pace and count it.
func once(o *kinesis.Options) { o.Retryer = onceInTime{} }

// onceInTime sends a request once, and again when the service refused it for
// its date alone: the SDK has the service's date by then.
type onceInTime struct{ aws.NopRetryer }

// IsErrorRetryable says whether the SDK blames the clock.
func (onceInTime) IsErrorRetryable(err error) bool {
	var clock interface{ RetryableError() bool }
	return errors.As(err, &clock) && clock.RetryableError()
}

func (onceInTime) MaxAttempts() int                             { return 2 }
func (onceInTime) RetryDelay(int, error) (time.Duration, error) { return 0, nil }

// Close does nothing: between two reads nothing runs.
func (r *reader) Close() {}

// Wait returns when the next read is due.
func (r *reader) Wait(ctx context.Context) error {
	if r.left() {
		return ctx.Err()
	}
	return pause(ctx, time.Until(r.due))
}

// Read makes one GetRecords call, and one for an iterator when it needs one.
// What is left of the last call's answer comes first, without a call. After an
// error the next Read continues at the same place.
func (r *reader) Read(ctx context.Context) (pipeline.Batch, error) {
	if r.left() {
		return r.closing(pipeline.Batch{Records: r.more(), Lag: r.lag, Continues: true}), nil
	}
	if r.end.End {
		return r.end, nil
	}
	call, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	batch, err := r.read(call)
	if err == nil {
		r.failures = 0
		return batch, nil
	}
	return pipeline.Batch{}, r.fail(ctx, err)
}

// fail counts a read that failed, and says when to try again.
func (r *reader) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("read shard %s: %w", r.shard, context.Cause(ctx))
	}
	r.failures++
	r.due = time.Now().Add(max(minPause, backoff(r.failures, readInitial, readLongest)))
	r.count(err)
	return err
}

func (r *reader) count(err error) {
	why := reasonOther
	var f *failure
	if errors.As(err, &f) {
		why = f.reason
	}
	r.source.metrics.errors.WithLabelValues(r.source.name, string(why)).Inc()
	if why == reasonThrottled {
		r.metrics.throttles.Inc()
	}
}

func (r *reader) read(ctx context.Context) (pipeline.Batch, error) {
	if r.ended || r.from == checkpoint.ShardEnd {
		return r.finish(ctx)
	}
	out, err := r.records(ctx)
	var f *failure
	if errors.As(err, &f) && f.reason == reasonIterator {
		// Nothing was wrong but the time that passed: once, at the pace of
		// reads, try with a new one.
		if err := pause(ctx, time.Until(r.called.Add(minPause))); err != nil {
			return pipeline.Batch{}, err
		}
		out, err = r.records(ctx)
	}
	if err != nil {
		return pipeline.Batch{}, err
	}
	return r.batch(out), nil
}

// records gets an iterator unless there is one, and reads with it.
func (r *reader) records(ctx context.Context) (*kinesis.GetRecordsOutput, error) {
	if r.iterator == "" || time.Since(r.issued) > iteratorAge {
		if err := r.position(ctx); err != nil {
			return nil, err
		}
	}
	r.called = time.Now()
	r.metrics.reads.Inc()
	out, err := r.source.client.GetRecords(ctx, &kinesis.GetRecordsInput{
		ShardIterator: aws.String(r.iterator),
		StreamARN:     aws.String(r.source.arn),
		Limit:         aws.Int32(maxRecords),
	}, once)
	if err == nil {
		return out, nil
	}
	f := streamFailed("read shard "+r.shard, err)
	switch f.reason {
	case reasonGone:
		return nil, r.gone(ctx, f)
	case reasonArgument, reasonIterator:
		r.iterator = ""
	}
	return nil, f
}

// position gets an iterator that begins at r.from.
func (r *reader) position(ctx context.Context) error {
	at := r.start()
	in := &kinesis.GetShardIteratorInput{StreamARN: aws.String(r.source.arn), ShardId: aws.String(r.shard),
		ShardIteratorType: at.Type, StartingSequenceNumber: at.SequenceNumber, Timestamp: at.Timestamp}
	start := now()
	issued := time.Now()
	out, err := r.source.client.GetShardIterator(ctx, in, once)
	if err != nil {
		f := streamFailed("find the position in shard "+r.shard, err)
		switch {
		case f.reason == reasonGone:
			return r.gone(ctx, f)
		case f.reason == reasonArgument:
			r.refuse(at, f)
		}
		return f
	}
	if aws.ToString(out.ShardIterator) == "" {
		return fmt.Errorf("find the position in shard %s: the answer has no iterator", r.shard)
	}
	if r.from == checkpoint.Latest {
		// The next iterator must not skip what arrives from here on.
		r.from = checkpoint.At(serverTime(out.ResultMetadata, start).Add(-latestMargin))
	}
	r.iterator, r.issued, r.anew = *out.ShardIterator, issued, true
	r.proving = r.from.IsNumber()
	return nil
}

// start is where to begin to read anew.
func (r *reader) start() (at types.StartingPosition) {
	switch t, timed := r.from.Time(); {
	case timed:
		at.Type, at.Timestamp = types.ShardIteratorTypeAtTimestamp, aws.Time(t)
	case r.from.IsNumber() && !r.refused:
		at.Type, at.SequenceNumber = types.ShardIteratorTypeAtSequenceNumber, aws.String(r.from.Sequence)
	case r.from == checkpoint.Latest:
		at.Type = types.ShardIteratorTypeLatest
	default:
		at.Type = types.ShardIteratorTypeTrimHorizon
	}
	return at
}

// refuse notes that the service does not take the position at.
func (r *reader) refuse(at types.StartingPosition, f *failure) {
	if at.Type != types.ShardIteratorTypeAtSequenceNumber {
		return
	}
	r.refused = true
	r.logger.Warn("position refused, perhaps because its record was trimmed: reading from the oldest record",
		zap.Stringer("position", r.from), zap.Error(f))
}

// batch turns an answer into records, and decides when to read again.
func (r *reader) batch(out *kinesis.GetRecordsOutput) pipeline.Batch {
	raw := out.Records
	r.lag = time.Duration(aws.ToInt64(out.MillisBehindLatest)) * time.Millisecond
	r.metrics.lag.Set(r.lag.Seconds())
	records, gap := r.take(raw)
	if len(records) > 0 {
		r.refused = false
	}

	r.iterator, r.issued = aws.ToString(out.NextShardIterator), r.called
	tip := r.lag == 0 && len(raw) < maxRecords
	if tip {
		r.due = time.Now().Add(r.source.poll)
		if len(raw) == 0 && !r.proving { // it was at the tip
			r.since = serverTime(out.ResultMetadata, r.called).Add(-latestMargin)
		}
	} else {
		r.due = r.called.Add(minPause)
	}
	if r.iterator == "" {
		r.through(out.ChildShards)
	}
	batch := pipeline.Batch{Records: records, Lag: r.lag, Tip: tip && !r.left(), Gap: gap, Continues: !r.anew}
	r.anew = false
	return r.closing(batch)
}

// through notes that the shard has nothing behind what was taken. Without
// children the records come first: the listing has to say what the answer does
// not.
func (r *reader) through(children []types.ChildShard) {
	if len(children) == 0 {
		r.ended = true
		r.due = time.Now().Add(minPause)
		return
	}
	var listed []checkpoint.Shard
	for _, child := range children {
		listed = append(listed, childShard(child))
	}
	r.finished(listed)
}

// closing makes a batch the last one if it is.
func (r *reader) closing(batch pipeline.Batch) pipeline.Batch {
	if !r.left() {
		batch.End, batch.Children = r.end.End, r.end.Children
	}
	if batch.End && batch.Gap == nil {
		batch.Gap = r.unproven()
	}
	return batch
}

// finish asks the listing what follows a shard whose last answer did not say.
func (r *reader) finish(ctx context.Context) (pipeline.Batch, error) {
	shards, _, err := r.source.Shards(ctx)
	if err != nil {
		return pipeline.Batch{}, fmt.Errorf("find the children of shard %s: %w", r.shard, err)
	}
	i := slices.IndexFunc(shards, func(s checkpoint.Shard) bool { return s.ID == r.shard })
	if i < 0 {
		return pipeline.Batch{}, fmt.Errorf("shard %s of %s: %w", r.shard, r.source.arn, pipeline.ErrShardGone)
	}
	var children []checkpoint.Shard
	for _, s := range shards {
		if slices.Contains(s.Parents, r.shard) {
			children = append(children, s)
		}
	}
	if !shards[i].Closed || len(children) == 0 {
		r.ended = false
		return pipeline.Batch{}, fmt.Errorf("shard %s of %s gave no further iterator, but is listed as open or without children", r.shard, r.source.arn)
	}
	r.finished(children)
	batch := r.end
	batch.Gap = r.unproven()
	return batch, nil
}

func (r *reader) finished(children []checkpoint.Shard) {
	r.end = pipeline.Batch{End: true, Children: children}
}

// gone finds out whether the shard or the whole stream does not exist: the
// service has one answer for both.
func (r *reader) gone(ctx context.Context, f *failure) error {
	r.iterator = ""
	shards, _, err := r.source.Shards(ctx)
	switch {
	case err != nil:
		return err
	case !slices.ContainsFunc(shards, func(s checkpoint.Shard) bool { return s.ID == r.shard }):
		f.meaning = pipeline.ErrShardGone
	default: // it is there after all
		f.meaning = nil
	}
	return f
}

func childShard(child types.ChildShard) checkpoint.Shard {
	c := checkpoint.Shard{ID: aws.ToString(child.ShardId), Parents: child.ParentShards}
	if r := child.HashKeyRange; r != nil {
		c.HashFrom, c.HashTo = aws.ToString(r.StartingHashKey), aws.ToString(r.EndingHashKey)
	}
	return c
}
