package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/metrics"
)

// readiness asks the worker for its state.
func (p *process) readiness() (status int, r metrics.Readiness) {
	p.t.Helper()
	status, body := p.get("/readyz")
	if err := json.Unmarshal(body, &r); err != nil {
		p.t.Fatalf("/readyz: %v: %s", err, body)
	}
	return status, r
}

// sourceState is what /readyz says of a source.
func (p *process) sourceState(name string) metrics.SourceState {
	p.t.Helper()
	status, r := p.readiness()
	if status != 200 || !r.Ready {
		p.t.Errorf("/readyz: status %d, ready %v (%s): a source is a detail", status, r.Ready, r.Reason)
	}
	for _, s := range r.Sources {
		if s.Name == name {
			return s
		}
	}
	p.t.Fatalf("/readyz does not know the source %s", name)
	return metrics.SourceState{}
}

// sample is a metric's value in /metrics, as text; empty: it is not there.
func (p *process) sample(series string) string {
	p.t.Helper()
	_, body := p.get("/metrics")
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// awaitSource waits until a source is up or down by readiness, metric and log,
// with the words in the reason and the log.
func (p *process) awaitSource(name, state string, words ...string) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("source %s is %s", name, state), func() error {
		s := p.sourceState(name)
		if s.State != state {
			return fmt.Errorf("it is %s (%s)", s.State, s.Reason)
		}
		for _, w := range words {
			if !strings.Contains(s.Reason, w) {
				return fmt.Errorf("the reason does not say %q: %s", w, s.Reason)
			}
		}
		return nil
	})
	want := map[string]string{"up": "1", "down": "0"}[state]
	await(p.t, "the metric says so", func() error {
		if got := p.sample(`shardline_pipeline_source_up{source="` + name + `"}`); got != want {
			return fmt.Errorf("it is %q, want %s", got, want)
		}
		return nil
	})
	if state == "down" {
		p.awaitLog(append([]string{`"level":"error"`, `"source":"` + name + `"`}, words...)...)
	}
}

// TestSourcesInTrouble has a source of every kind of trouble beside one that
// is well, which is not disturbed.
func TestSourcesInTrouble(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	well := s.streams[0]
	wrong := s.addStream(resortsAccount, "wrong-id", 1)
	revoked := s.addStream(resortsAccount, "revoked", 1)
	deleted := s.addStream(resortsAccount, "deleted", 1)
	missing := s.addStream(hotelsAccount, "missing", 1)
	late := s.addStream(hotelsAccount, "late", 1)
	for _, st := range []*stream{missing, late} {
		if err := s.aws.DeleteStream(st.arn); err != nil {
			t.Fatal(err)
		}
	}
	r := s.receiver("all")
	config := s.config(settings{sources: []sourceSettings{{stream: well}, {stream: wrong, externalID: "somebody-else"},
		{stream: revoked}, {stream: deleted}, {stream: missing}, {stream: late}}})
	s.some(30, 10, revoked)
	s.some(30, 10, deleted)
	stopFeeding := s.keepFeeding(1, 10, 30*time.Millisecond, well) // to the end

	p := s.start(config)
	s.awaitThrough(r)
	p.awaitSource(well.name, "up")
	p.awaitSource(wrong.name, "down", wrong.role, "AccessDenied")
	p.awaitSource(missing.name, "down", missing.arn)
	p.awaitSource(revoked.name, "up")

	if err := s.aws.RevokeRole(revoked.role); err != nil {
		t.Fatal(err)
	}
	s.some(30, 10, revoked)
	p.awaitSource(revoked.name, "down", "denied")
	if err := s.aws.DeleteStream(deleted.arn); err != nil {
		t.Fatal(err)
	}
	p.awaitSource(deleted.name, "down", "no such stream")
	if got := p.sourceState(well.name); got.State != "up" || got.Shards != 2 {
		t.Errorf("the source that is well: %+v", got)
	}

	// What heals comes back by itself, and nothing is lost.
	if err := s.aws.GrantRole(revoked.role); err != nil {
		t.Fatal(err)
	}
	if _, err := s.aws.CreateStream(hotelsAccount, testRegion, "late", 1); err != nil {
		t.Fatal(err)
	}
	s.some(30, 10, late)
	p.awaitSource(revoked.name, "up")
	p.awaitSource(late.name, "up")
	s.awaitThrough(r)
	if line := p.logged(`"level":"error"`, `"source":"`+well.name+`"`); line != "" {
		t.Errorf("the source that is well was disturbed: %s", line)
	}
	stopFeeding()
	s.awaitThrough(r)
	for _, q := range r.all() {
		if m := s.of[q.digest]; strings.HasPrefix(m.key, well.name) && q.time.Sub(m.time) > 5*time.Second {
			t.Errorf("a message of the source that is well took %s", q.time.Sub(m.time))
			break
		}
	}
	p.stop()
	s.check(r)
}

// TestRolesInPart takes a part of each role's permissions: the reason says
// which, the other sources go on, and what is given back is used again.
func TestRolesInPart(t *testing.T) {
	t.Parallel()
	// Sessions end after three seconds, so that the one of a role that can no
	// longer be assumed does.
	s := newScene(t, localaws.Config{SessionLifetime: 3 * time.Second}, 2)
	well := s.streams[0]
	parts := []struct {
		stream *stream
		action string
	}{
		{s.addStream(resortsAccount, "assume", 1), "sts:AssumeRole"},
		{s.addStream(resortsAccount, "read", 1), "kinesis:GetRecords"},
		{s.addStream(hotelsAccount, "list", 1), "kinesis:ListShards"},
		{s.addStream(hotelsAccount, "describe", 1), "kinesis:DescribeStreamSummary"},
	}
	// The last two are never complete before the repair: a running worker does
	// not need them at once.
	for _, part := range parts[2:] {
		if err := s.aws.DenyActions(part.stream.role, part.action); err != nil {
			t.Fatal(err)
		}
	}
	sources := []sourceSettings{{stream: well}}
	for _, part := range parts {
		sources = append(sources, sourceSettings{stream: part.stream})
	}
	r := s.receiver("all")
	for _, part := range parts[:2] {
		s.some(30, 10, part.stream)
	}
	stopFeeding := s.keepFeeding(1, 10, 30*time.Millisecond, well)
	p := s.start(s.config(settings{sources: sources}))
	s.awaitThrough(r)
	for _, part := range parts[:2] {
		p.awaitSource(part.stream.name, "up")
		if err := s.aws.DenyActions(part.stream.role, part.action); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range parts {
		s.some(30, 10, part.stream)
	}
	for _, part := range parts {
		name := part.stream.name
		p.awaitSource(name, "down", part.action)
		if part.action == "sts:AssumeRole" {
			p.awaitSource(name, "down", "assume role "+part.stream.role)
		}
	}
	if got := p.sourceState(well.name); got.State != "up" || got.Shards != 2 {
		t.Errorf("the source that is well: %+v", got)
	}
	for _, part := range parts {
		if err := s.aws.GrantRole(part.stream.role); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range parts {
		p.awaitSource(part.stream.name, "up")
	}
	stopFeeding()
	s.awaitThrough(r)
	if line := p.logged(`"level":"error"`, `"source":"`+well.name+`"`); line != "" {
		t.Errorf("the source that is well was disturbed: %s", line)
	}
	p.stop()
	s.check(r)
}

// TestClockOfTheService has the service's clock ten minutes from the workers',
// and then lets it jump to theirs, as if theirs had been set.
func TestClockOfTheService(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{Skew: -10 * time.Minute}, 2)
	r := s.receiver("channel")
	p := s.start(s.config(settings{failover: 10 * time.Second}))
	stopFeeding := s.keepFeeding(1, 10, 30*time.Millisecond)
	s.some(50, 10)
	s.awaitThrough(r)
	s.aws.SetSkew(0)
	s.some(50, 10)
	s.awaitThrough(r)
	stopFeeding()
	s.awaitThrough(r)
	refused := int64(0)
	for what, n := range s.aws.Stats().Errors {
		if strings.Contains(what, "Signature") {
			refused += n
		}
	}
	if refused == 0 {
		t.Error("no request was refused for its date")
	}
	for _, words := range []string{"source is down", "lease is lost"} {
		if line := p.logged(words); line != "" {
			t.Errorf("the worker was interrupted: %s", line)
		}
	}
	p.stop()
	if result := s.check(r); result.Duplicates != 0 {
		t.Errorf("%d duplicates", result.Duplicates)
	}
}

// TestCredentialsExpire reads through sessions that end again and again: they are
// renewed ahead of their ends, and nobody notices.
func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	// The service's shortest session is 15 minutes: here every one ends after
	// three seconds.
	s := newScene(t, localaws.Config{SessionLifetime: 3 * time.Second}, 2, 1)
	r := s.receiver("channel")
	p := s.start(s.config(settings{failover: 10 * time.Second}))
	stopFeeding := s.keepFeeding(2, 20, 50*time.Millisecond)
	sessions := int64(2 * 4) // of two roles
	await(t, "the sessions are renewed", func() error {
		if n := s.aws.Stats().Calls["sts.AssumeRole"]; n < sessions {
			return fmt.Errorf("%d AssumeRole calls", n)
		}
		return nil
	})
	stopFeeding()
	s.awaitThrough(r)
	for what, n := range s.aws.Stats().Errors {
		if strings.Contains(what, "Expired") || strings.Contains(what, "Token") || strings.Contains(what, "Denied") {
			t.Errorf("%s: %d", what, n)
		}
	}
	if line := p.logged("source is down"); line != "" {
		t.Errorf("the source was interrupted: %s", line)
	}
	for _, name := range []string{"hotels-0", "resorts-1"} {
		if got := p.sample(`shardline_consumers_credentials_expiry_timestamp_seconds{source="` + name + `"}`); got == "" || got == "0" {
			t.Errorf("the metric of the expiry of %s is %q", name, got)
		}
	}
	p.stop()
	if result := s.check(r); result.Duplicates != 0 {
		t.Errorf("%d duplicates", result.Duplicates)
	}
}

// TestReadsInTrouble throttles, breaks, drops and expires reads.
func TestReadsInTrouble(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{IteratorLifetime: time.Second, ListShardsPage: 1}, 3, 1)
	r := s.receiver("channel")
	for i, f := range []localaws.Fault{
		{Operation: "kinesis.GetRecords", Kind: localaws.Throttle, Probability: .06},
		{Operation: "kinesis.GetRecords", Kind: localaws.Error500, Probability: .03},
		{Operation: "kinesis.GetRecords", Kind: localaws.DropBefore, Probability: .03},
		{Operation: "kinesis.GetRecords", Kind: localaws.DropAfter, Probability: .05},
		{Operation: "kinesis.GetRecords", Kind: localaws.ExpiredIterator, Probability: .08},
		{Operation: "kinesis.GetRecords", Kind: localaws.EmptyRead, Probability: .3},
		{Operation: "kinesis.GetShardIterator", Kind: localaws.Throttle, Probability: .1},
		{Operation: "kinesis.GetShardIterator", Kind: localaws.DropAfter, Probability: .1},
		{Operation: "kinesis.ListShards", Kind: localaws.Throttle, Count: 2},
		{Operation: "kinesis.DescribeStreamSummary", Kind: localaws.Error500, Count: 1},
		{Operation: "sts.AssumeRole", Kind: localaws.Throttle, Count: 1},
	} {
		f.Seed = s.seed + uint64(i)
		if _, err := s.aws.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	s.some(200, 40)
	p := s.start(s.config(settings{failover: 10 * time.Second}))
	stopFeeding := s.keepFeeding(4, 40, 20*time.Millisecond)
	await(t, "faults", func() error {
		if n := s.aws.Stats().Errors["kinesis.GetRecords ExpiredIteratorException"]; n < 5 {
			return fmt.Errorf("%d expired iterators", n)
		}
		return nil
	})
	s.split(0)
	s.awaitLeases("the children have begun", begun(3, 4))
	stopFeeding()
	s.awaitThrough(r)
	p.stop()
	if result := s.check(r); result.Duplicates != 0 {
		t.Errorf("%d duplicates: a read that failed comes again at the same place", result.Duplicates)
	}
}

// TestGreedyReader shares a shard's five reads a second with another
// application that takes all it can get: Shardline backs off, goes on as far
// as it is let, and is at full speed soon after the other one has stopped.
func TestGreedyReader(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	r := s.receiver("channel")
	st := s.streams[0]
	own, err := s.aws.AddAccount(st.account)
	if err != nil {
		t.Fatal(err)
	}
	foreign := kinesis.New(kinesis.Options{Region: testRegion, BaseEndpoint: aws.String(s.aws.Endpoint()), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, own.SessionToken)})
	at, err := foreign.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamARN: &st.arn, ShardId: aws.String(shardID(0)),
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	s.some(50, 10)
	p := s.start(s.config(settings{failover: 10 * time.Second}))
	s.awaitThrough(r)

	ctx, cancel := context.WithCancel(t.Context())
	greedy := make(chan struct{})
	go func() {
		defer close(greedy)
		for ctx.Err() == nil {
			_, _ = foreign.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator})
		}
	}()
	throttled := `shardline_consumers_read_throttles_total{shard="` + shardID(0) + `",source="` + st.name + `"}`
	s.some(50, 10)
	await(t, "reads are throttled", func() error {
		var n float64
		if _, err := fmt.Sscan(p.sample(throttled), &n); err != nil || n < 4 {
			return fmt.Errorf("%g throttled reads (%v)", n, err)
		}
		return nil
	})
	cancel()
	<-greedy
	began := time.Now()
	s.some(50, 10)
	s.awaitThrough(r)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %s to come back", took)
	}
	if line := p.logged("source is down"); line != "" {
		t.Errorf("a throttle is no trouble: %s", line)
	}
	p.stop()
	if result := s.check(r); result.Duplicates != 0 {
		t.Errorf("%d duplicates", result.Duplicates)
	}
}
