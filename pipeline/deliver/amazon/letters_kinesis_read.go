package amazon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/redrive"
)

// readPause is between two reads of a shard, which answers five a second.
const readPause = 200 * time.Millisecond

// redrivenMark is a record of the stream that says of a letter that it was
// redriven. The stream is its own journal: whoever may read and write it sees
// the same letters, wherever they are redriven.
type redrivenMark struct {
	Redriven string `json:"redriven"` // the letter's id
	Command  string `json:"command"`
}

// Partial implements redrive.Queue.
func (k *KinesisLetters) Partial() bool { return false }

// Scan implements redrive.Queue. It reads the whole stream as far as it is now,
// and holds what it found: no letter is known to be there before all marks are.
func (k *KinesisLetters) Scan(ctx context.Context, filter redrive.Filter, found func(redrive.Found) error) error {
	shards, err := k.shards(ctx)
	if err != nil {
		return err
	}
	var all []redrive.Found
	redriven := make(map[string]bool)
	size := 0
	for _, shard := range shards {
		err := k.read(ctx, shard, func(r types.Record) error {
			var mark redrivenMark
			if err := json.Unmarshal(r.Data, &mark); err == nil && mark.Redriven != "" {
				redriven[mark.Redriven] = true
				return nil
			}
			f := redrive.Found{Where: fmt.Sprintf("%s %s", shard, aws.ToString(r.SequenceNumber))}
			f.Letter, f.Problem = deliver.ParseDeadLetter(r.Data)
			f.Loaded, f.Size = f.Letter.DataIn == "", len(f.Letter.Data)
			if f.Problem == nil && !filter.Has(&f.Letter) {
				return nil
			}
			if size += len(f.Letter.Data); size > maxHeldBytes {
				return fmt.Errorf("stream %s has more than %d MiB of these letters: name a destination, a key or times", k.stream, maxHeldBytes>>20)
			}
			all = append(all, f)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, f := range all {
		if f.Problem == nil && redriven[f.Letter.ID()] {
			continue
		}
		if err := found(f); err != nil {
			return err
		}
	}
	return nil
}

func (k *KinesisLetters) shards(ctx context.Context) ([]string, error) {
	var shards []string
	in := &kinesis.ListShardsInput{StreamARN: aws.String(k.stream)}
	for {
		out, err := k.client.ListShards(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list shards of %s: %s", k.stream, failed(err).Detail)
		}
		for _, shard := range out.Shards {
			shards = append(shards, aws.ToString(shard.ShardId))
		}
		if aws.ToString(out.NextToken) == "" {
			return shards, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

// read reads a shard from its beginning to where it is now.
func (k *KinesisLetters) read(ctx context.Context, shard string, found func(types.Record) error) error {
	at, err := k.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamARN: aws.String(k.stream), ShardId: aws.String(shard), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		return fmt.Errorf("read %s of %s: %s", shard, k.stream, failed(err).Detail)
	}
	for iterator := at.ShardIterator; iterator != nil; {
		select {
		case <-time.After(readPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		out, err := k.client.GetRecords(ctx, &kinesis.GetRecordsInput{StreamARN: aws.String(k.stream), ShardIterator: iterator})
		if err != nil {
			return fmt.Errorf("read %s of %s: %s", shard, k.stream, failed(err).Detail)
		}
		for _, r := range out.Records {
			if err := found(r); err != nil {
				return err
			}
		}
		if aws.ToInt64(out.MillisBehindLatest) == 0 {
			return nil // what comes meanwhile is for the next scan
		}
		iterator = out.NextShardIterator
	}
	return nil
}

// Load implements redrive.Queue.
func (k *KinesisLetters) Load(ctx context.Context, f *redrive.Found) error {
	if f.Loaded {
		return nil
	}
	return k.overflow.load(ctx, f)
}

// Done implements redrive.Queue: it marks letters in the stream.
func (k *KinesisLetters) Done(ctx context.Context, command string, letters []*redrive.Found) error {
	records := make([]putRecord, len(letters))
	for i, f := range letters {
		data, err := json.Marshal(redrivenMark{Redriven: f.Letter.ID(), Command: command})
		if err != nil {
			return err
		}
		records[i] = putRecord{letterKey(&f.Letter), data}
	}
	var problems error
	for len(records) > 0 {
		some, of := records[:min(len(records), maxPutRecords)], letters[:min(len(records), maxPutRecords)]
		records, letters = records[len(some):], letters[len(some):]
		answers, err := k.put(ctx, some)
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("mark letters in %s: %s", k.stream, failed(err).Detail))
			continue
		}
		for i, a := range answers {
			if a.Reason != deliver.ReasonDelivered {
				problems = errors.Join(problems, fmt.Errorf("mark a letter in %s: %s", k.stream, a.Detail))
				continue
			}
			problems = errors.Join(problems, k.overflow.remove(ctx, &of[i].Letter))
		}
	}
	return problems
}

// Release implements redrive.Queue.
func (k *KinesisLetters) Release(context.Context) error { return nil }
