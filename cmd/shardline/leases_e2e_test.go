package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// command runs the command in a process of its own, to its end.
func (s *scene) command(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	executable, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	var out, errors bytes.Buffer
	cmd := exec.Command(executable, args...)
	cmd.Env = append([]string{envWorker + "=1", "TEST_WORKER=operator", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null"}, s.environment...)
	cmd.Stdout, cmd.Stderr = &out, &errors
	input, err := cmd.StdinPipe() // see endWithTest
	if err != nil {
		s.t.Fatal(err)
	}
	defer input.Close()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	stop := time.AfterFunc(patience, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	defer stop.Stop()
	state, err := cmd.Process.Wait()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it waits for the outputs alone
	return state.ExitCode(), out.String(), errors.String()
}

// TestLeasesOfLiveWorkers lists and examines the leases of a fleet that works,
// is refused to set them, and frees those of a worker that was killed: a peer
// reads them at once, long before the fail-over time has passed for it.
func TestLeasesOfLiveWorkers(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 4)
	r := s.receiver("channel")
	const failover = 6 * time.Second
	config := s.config(settings{failover: failover})
	stopFeeding := s.keepFeeding(4, 40, 20*time.Millisecond)
	one, two := s.start(config), s.start(config)
	s.awaitLeases("they share", ownedBy(2, one, two))
	r.awaitCount(t, 50)

	code, stdout, stderr := s.command("leases", "list", "--json", "--lag", "--config", config)
	lines := decodeLines[listedLease](t, stdout)
	if code != 0 || len(lines) != 4 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, l := range lines {
		if l.RenewedWithin == nil || *l.RenewedWithin > failover.Seconds()/2 || !l.Shardline || l.Source != s.streams[0].name || len(l.Damage) > 0 {
			t.Errorf("%+v", l)
		}
		if l.Lag == nil || *l.Lag > 30 {
			t.Errorf("%s: lag %v (%s)", l.Shard, l.Lag, l.LagError)
		}
	}
	if code, stdout, stderr := s.command("leases", "check", "--config", config); code != 0 || !strings.Contains(stdout, "4 leases, 0 errors, 0 warnings") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := s.command("leases", "set", "--all", "--to", "trim_horizon", "--config", config); code != 1 || strings.Count(stdout, "lives: it renewed") != 4 {
		t.Errorf("exit %d: %s", code, stdout)
	}
	s.awaitLeases("they share as before", ownedBy(2, one, two))

	// The commands watch for the fail-over time: so does the peer. The dead
	// worker's leases are free when the command says so, by then or by itself.
	one.kill()
	one.awaitEnd()
	mark := s.mark()
	code, stdout, stderr = s.command("leases", "release", "--all", "--config", config)
	if code != 1 || strings.Count(stdout, "refused: ") < 2 || !strings.Contains(stdout, two.name+" lives") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	s.awaitLeases("the peer has all", ownedBy(4, two))
	s.awaitSince(mark, r)
	stopFeeding()
	s.awaitThrough(r)

	// Stopped, everything can be set: all of it comes again.
	two.stop()
	before := r.count()
	if code, stdout, stderr := s.command("leases", "set", "--all", "--to", "trim_horizon", "--config", config); code != 0 || !strings.Contains(stdout, "4 leases changed") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	three := s.start(config)
	r.awaitCount(t, before+len(s.messages()))
	three.stop()
	s.check(r)
}

// TestReleasedAtOnce kills a worker whose fail-over time is long: what the
// operator releases by force is read by a peer at once.
func TestReleasedAtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	r := s.receiver("channel")
	const failover = 45 * time.Second
	config := s.config(settings{failover: failover})
	one := s.start(config)
	leases := s.awaitLeases("one has both", ownedBy(2, one))
	s.some(20, 10)
	s.awaitThrough(r)
	one.kill()
	one.awaitEnd()
	s.some(20, 10)
	began := time.Now()
	if code, stdout, stderr := s.command("leases", "release", "--force", leases[0].Key, leases[1].Key, "--config", config); code != 0 || !strings.Contains(stdout, "2 leases changed") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	two := s.start(config)
	s.awaitLeases("two has both", ownedBy(2, two))
	s.awaitThrough(r)
	if took := time.Since(began); took > failover*3/4 {
		t.Errorf("a peer reads only after %s, with a fail-over time of %s", took, failover)
	}
	two.stop()
	s.check(r)
	if got, err := s.leases(); err != nil || len(got) != 2 || got[0].Owner != "" || got[0].Checkpoint == checkpoint.TrimHorizon {
		t.Errorf("%v: %s", err, fmt.Sprint(got))
	}
}
