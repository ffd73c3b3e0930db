package consumers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/checkpoint"
)

// Run sends until Close and everything is acknowledged (nil), ctx ends (nil),
// or the service refuses in a way that repeating cannot end: no permission, no
// such stream, a record that it does not take.
func (p *Producer) Run(ctx context.Context) error {
	var all sync.WaitGroup
	slots := make(chan struct{}, senders)
	for {
		wait, done := p.look()
		if done {
			break
		}
		if wait > 0 {
			if !p.sleep(ctx, wait) {
				break
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		p.mu.Lock()
		batch := p.lanes.take()
		p.mu.Unlock()
		all.Go(func() {
			defer func() { <-slots; p.wakeRun() }()
			p.send(ctx, batch)
		})
	}
	all.Wait() // calls in flight end by themselves, or with ctx
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.err
	if err == nil { // whoever still waits in Put or Flush
		p.err = ErrClosed
	}
	p.announce()
	return err
}

// forever is how long Run sleeps when only a wake-up can bring work.
const forever = time.Hour

// look says how long to wait before the next batch goes, 0: it goes now; done:
// there will be none.
func (p *Producer) look() (wait time.Duration, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.lanes.wake(now)
	if p.err != nil || p.closed && p.lanes.held == 0 {
		return 0, true
	}
	wait = forever
	if due, some := p.lanes.next(); some {
		wait = due.Sub(now)
	}
	if len(p.lanes.ready) > 0 {
		wait = min(wait, p.lanes.ready[0].since.Add(linger).Sub(now))
		if p.flush > 0 || p.closed || p.lanes.full() {
			wait = 0
		}
	}
	return max(wait, 0), false
}

func (p *Producer) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.wake:
	case <-ctx.Done():
		return false
	}
	return true
}

func (p *Producer) wakeRun() {
	select {
	case p.wake <- struct{}{}:
	default: // Run has yet to take the last one
	}
}

// announce wakes Put and Flush. p.mu is held.
func (p *Producer) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
	p.wakeRun()
}

// send puts the messages of a batch and settles or repeats each.
func (p *Producer) send(ctx context.Context, batch []turn) {
	in := &kinesis.PutRecordsInput{StreamARN: aws.String(p.config.StreamARN), Records: make([]types.PutRecordsRequestEntry, len(batch))}
	for i, t := range batch {
		in.Records[i] = types.PutRecordsRequestEntry{PartitionKey: aws.String(t.lane.key), Data: t.data(p.config.Aggregate)}
		if in.Records[i].Data == nil {
			in.Records[i].Data = []byte{} // required, and may be empty
		}
	}
	call, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := p.config.Client.PutRecords(call, in, once)
	if err == nil && len(out.Records) != len(batch) {
		err = fmt.Errorf("%d results for %d records", len(out.Records), len(batch))
	}
	if err != nil {
		p.refused(batch, err)
		return
	}
	// In order per key: the next message of a key goes only after this.
	p.ackMu.Lock()
	defer p.ackMu.Unlock()
	for i, t := range batch {
		if result := out.Records[i]; aws.ToString(result.ErrorCode) == "" {
			for sub, m := range t.messages {
				p.config.OnAck(m, aws.ToString(result.ShardId), checkpoint.Number(aws.ToString(result.SequenceNumber), int64(sub)))
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	for i, t := range batch {
		result := out.Records[i]
		if code := aws.ToString(result.ErrorCode); code != "" {
			p.counts.LastError = fmt.Errorf("put record of key %q: %s: %s", t.lane.key, code, aws.ToString(result.ErrorMessage))
			if !throttleCodes[plainCode(code)] {
				p.counts.Unknown += int64(len(t.messages))
			}
			p.repeat(t, at)
			continue
		}
		p.counts.Acknowledged += int64(len(t.messages))
		p.lanes.settle(t, at)
	}
	p.announce()
}

// refused repeats a call that failed as a whole, unless that cannot help.
func (p *Producer) refused(batch []turn, err error) {
	f := streamFailed("put records to "+p.config.StreamARN, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch f.reason {
	case reasonDenied:
		if !f.stale() || p.config.Credentials == nil {
			p.fail(f)
		}
	case reasonGone, reasonArgument:
		p.fail(f)
	case reasonThrottled:
	default:
		for _, t := range batch {
			p.counts.Unknown += int64(len(t.messages))
		}
	}
	p.counts.LastError = f
	at := time.Now()
	for _, t := range batch {
		p.repeat(t, at)
	}
	p.announce()
}

// fail ends the producer. p.mu is held.
func (p *Producer) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// repeat lets a lane wait for another try. p.mu is held.
func (p *Producer) repeat(t turn, now time.Time) {
	t.lane.failures++
	p.counts.Retries += int64(len(t.messages))
	p.lanes.repeat(t.lane, now.Add(backoff(t.lane.failures, putInitial, putLongest)))
}

// data is a turn's record: its message as it is, or an aggregate. A message
// that would be taken for an aggregate has to be in one.
func (t turn) data(aggregate bool) []byte {
	if !aggregate || len(t.messages) == 1 && !looksAggregated(t.messages[0].Data) {
		return t.messages[0].Data
	}
	users := make([]UserRecord, len(t.messages))
	for i, m := range t.messages {
		users[i] = UserRecord{PartitionKey: m.Key, Data: m.Data}
	}
	return Aggregate(users)
}
