package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shardline/shardline/internal/localaws"
)

// TestDryRun reads and keys everything, logs each record once, and leaves no
// trace: no request, no table, no dead letter, no stream consumer.
func TestDryRun(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2, 1)
	r, other := s.receiver("partner"), s.receiver("other")
	config := s.config(settings{key: "hotel_code", sources: s.byFanOut("")})
	s.produceOpenTravel(20)
	unreadable := []byte("no XML: hunter2")
	s.put(s.streams[0], "somebody", unreadable)
	s.started++
	p := startProcess(t, "dry", append([]string{"TEST_WORKER=dry"}, s.environment...), "run", "--config", config, "--dry-run")
	want := len(s.messages()) - 1
	await(t, "all records are logged", func() error {
		if n := p.count(`"would deliver"`); n != want {
			return fmt.Errorf("%d of %d", n, want)
		}
		return nil
	})
	p.awaitLog("would dead-letter", "unreadable")
	line := p.awaitLog("would deliver", `"destinations":["partner","other"]`, `"type":"OTA_`, `"key":"`)
	if strings.Contains(line, "<") {
		t.Errorf("it shows data: %s", line)
	}
	p.stop()
	if r.count()+other.count() > 0 {
		t.Error("something was posted")
	}
	if strings.Contains(p.tail(1<<20), "hunter2") {
		t.Error("the log shows data")
	}
	for call, n := range s.aws.Stats().Calls {
		if strings.HasPrefix(call, "dynamodb.") || strings.HasPrefix(call, "kinesis.Register") || strings.HasPrefix(call, "kinesis.Subscribe") {
			t.Errorf("%d calls of %s", n, call)
		}
	}
	if _, err := os.Stat(s.deadLetterFile()); err == nil {
		t.Error("a dead letter file was made")
	}
}
