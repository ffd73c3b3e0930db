package demo

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/otasample"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// FeedCount is what the producers did.
type FeedCount struct {
	Put      int
	Produced consumers.Produced // summed over the streams
}

// feed puts messages into the streams until feeding ends, then waits for the
// acknowledgements. The channel is closed when r.fed is set.
func (r *run) feed(ctx, feeding context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		count, err := r.produce(ctx, feeding)
		r.fed = func() (FeedCount, error) { return count, err }
	}()
	return done
}

// produce runs a producer per stream, with the code of the produce command.
func (r *run) produce(ctx, feeding context.Context) (count FeedCount, err error) {
	base := aws.Config{Region: region, BaseEndpoint: aws.String(r.cloud.Endpoint())}
	own, err := r.cloud.AddAccount(tablesAccount)
	if err != nil {
		return count, err
	}
	base.Credentials = credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, own.SessionToken)

	var producers []*consumers.Producer
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(r.cloud.streams))
	for i, stream := range r.cloud.streams {
		client, assumed, err := consumers.NewClient(consumers.ClientConfig{
			Name: "producer", StreamARN: stream, Base: base, Application: "demo-producer",
			Role: &consumers.Role{ARN: r.cloud.producers[i], ExternalID: externalID},
		})
		if err != nil {
			return count, err
		}
		p := consumers.NewProducer(consumers.ProducerConfig{
			Client: client, StreamARN: stream, Credentials: assumed, Aggregate: r.Aggregate,
			OnAck: func(m consumers.Message, _ string, _ checkpoint.Position) {
				r.ledger.Acknowledge(m.Key, m.Data, time.Now())
			},
		})
		all.Go(func() { _ = assumed.Run(ctx) }) // ends with ctx, and has no other outcome
		all.Go(func() { failed <- p.Run(ctx) })
		producers = append(producers, p)
	}
	next, rate, err := r.messages()
	if err != nil {
		return count, err
	}
	if count.Put, err = put(ctx, feeding, producers, next, rate); err != nil {
		return count, err
	}
	for _, p := range producers {
		if err := p.Close(ctx); err != nil {
			return count, fmt.Errorf("producer: %w", err)
		}
		n := p.Produced()
		count.Produced.Acknowledged += n.Acknowledged
		count.Produced.Retries += n.Retries
		count.Produced.Unknown += n.Unknown
	}
	for range producers {
		if err := <-failed; err != nil {
			return count, fmt.Errorf("producer: %w", err)
		}
	}
	return count, nil
}

// put feeds the producers at a rate until feeding ends or next has no more.
// A hotel's messages all go to one stream.
func put(ctx, feeding context.Context, producers []*consumers.Producer, next func() (string, []byte, bool), rate float64) (int, error) {
	const tick = 20 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began, n := time.Now(), 0
	for {
		select {
		case <-feeding.Done():
			return n, nil
		case <-ticker.C:
		}
		for due := int(time.Since(began).Seconds() * rate); n < due; n++ {
			key, body, more := next()
			if !more {
				return n, nil
			}
			stream := 0
			for _, c := range []byte(key) {
				stream = (stream*31 + int(c)) % len(producers)
			}
			if err := producers[stream].Put(ctx, consumers.Message{Key: key, Data: body}); err != nil {
				return n, fmt.Errorf("producer: %w", err)
			}
		}
	}
}

// messages gives the user's messages once, spread over the feed, or generated
// ones without end; and how many of them per second.
func (r *run) messages() (next func() (string, []byte, bool), rate float64, err error) {
	if r.Messages != "" {
		next, n, err := ownMessages(r.Messages)
		return next, min(float64(r.Rate), float64(n+1)/r.Feed.Seconds()), err
	}
	generator := otasample.New(r.Seed)
	rng := rand.New(rand.NewPCG(r.Seed, 2))
	return func() (string, []byte, bool) {
		hotel := fmt.Sprintf("%05d", 1+rng.IntN(r.Hotels)) // leading zeros matter
		return hotel, generator.Next(hotel), true
	}, float64(r.Rate), nil
}

// ownMessages reads the files of a folder, in the order of their names. One
// that names no hotel, or several, takes its file name as key.
func ownMessages(dir string) (next func() (string, []byte, bool), n int, err error) {
	var files []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.EqualFold(filepath.Ext(path), ".xml") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if len(files) == 0 {
		return nil, 0, fmt.Errorf("no .xml file in %s", dir)
	}
	slices.Sort(files)
	var bodies [][]byte
	var keys []string
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			return nil, 0, err
		}
		key := filepath.Base(f)
		if m, err := opentravel.Scan(body); err == nil && len(m.HotelCodes) == 1 {
			key = m.HotelCodes[0]
		}
		bodies, keys = append(bodies, body), append(keys, key)
	}
	i := -1
	return func() (string, []byte, bool) {
		i++
		if i >= len(bodies) {
			return "", nil, false
		}
		return keys[i], bodies[i], true
	}, len(bodies), nil
}
