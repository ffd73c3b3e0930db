package config_test

import (
	"testing"
	"time"

	"github.com/shardline/shardline/cmd/shardline/config"
)

// TestReceivers loads a destination of every type in AWS, and a file.
func TestReceivers(t *testing.T) {
	c, err := config.Load("testdata/good/receivers.yaml", none, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name        string
		concurrency int
		linger      time.Duration
		region      string
	}{
		{"rekeyed", 512, 10 * time.Millisecond, "eu-west-1"},
		{"queue", 128, 10 * time.Millisecond, "eu-north-1"},
		{"topic", 32, 10 * time.Millisecond, "us-east-1"},
		{"archive", 512, 5 * time.Second, "eu-central-1"},
		{"local-queue", 128, 10 * time.Millisecond, "eu-central-1"},
		{"file", 256, 0, ""},
	} {
		d := c.Destination(want.name)
		region := map[string]string{config.TypeKinesis: d.Stream.Region, config.TypeSQS: d.QueueRegion(c), config.TypeSNS: d.TopicRegion(), config.TypeS3: d.BucketRegion(c)}[d.Type]
		if d.Concurrency != want.concurrency || d.Linger != want.linger || region != want.region {
			t.Errorf("%s: concurrency %d, linger %v, region %q, want %d, %v, %q", want.name, d.Concurrency, d.Linger, region, want.concurrency, want.linger, want.region)
		}
	}
	rekeyed := c.Destination("rekeyed")
	if rekeyed.Role.SessionName != "receivers" || rekeyed.Key != "hotel_code" || c.Destination("file").Path != "testdata/good/records.jsonl" {
		t.Errorf("%+v, %+v", rekeyed, c.Destination("file"))
	}
}
