package main

import (
	"strings"
	"testing"

	"github.com/shardline/shardline/checkpoint"
)

// TestPeerTakeOver lets Shardline go on where a KCL application has stopped,
// and gives the table back to KCL: each goes on with the records behind the
// other's checkpoints, all of them and no other.
func TestPeerTakeOver(t *testing.T) {
	t.Parallel()
	stopped := func(w *kclWorker) { w.stop() }
	killed := func(w *kclWorker) { w.kill(); w.awaitEnd() }
	for _, test := range []struct {
		version kcl
		name    string
		end     func(w *kclWorker)
	}{
		{kcl2, "stopped", stopped},
		{kcl2, "killed", killed},
		{kcl3as2, "killed", killed},
		{kcl3native, "stopped", stopped},
	} {
		t.Run(test.version.name+" "+test.name, func(t *testing.T) {
			t.Parallel()
			s := newPeerScene(t, 2)
			stopFeeding := s.keepFeeding()
			java := s.startKCL(test.version)
			s.awaitShared("the KCL worker has everything", java.name)
			s.split(s.open()[0])
			s.awaitReshard()
			test.end(java)
			stopFeeding()

			found := s.mustLeases()
			s.addSome(2 * peerKeys)
			p := s.startShardline("")
			s.awaitHandled()
			p.stop()
			s.checkLeases()
			s.checkFrom(found, p.name)

			s.giveBack()
			found = s.mustLeases()
			s.addSome(2 * peerKeys)
			again := s.startKCL(test.version)
			s.awaitHandled()
			again.stop()
			s.check()
			s.checkLeases()
			s.checkFrom(found, again.name)
		})
	}
}

// giveBack gives the table back to KCL workers.
func (s *peerScene) giveBack() {
	s.t.Helper()
	startProcess(s.t, "release", s.environment(), "leases", "release", "--to-kcl", "--config", s.config("")).awaitExit(0)
	items, err := s.items()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, item := range items {
		for _, ours := range []string{"tenure", "askedBy", "roster", "behind", "behindRef", "checkpointTimestamp"} {
			if item[ours] != nil {
				s.t.Errorf("lease %s still has %s", text(item["leaseKey"]), ours)
			}
		}
	}
}

func (s *peerScene) mustLeases() map[string]peerLease {
	s.t.Helper()
	leases, err := s.leases()
	if err != nil {
		s.t.Fatal(err)
	}
	return leases
}

// checkFrom says that a worker handled exactly what is behind the checkpoints
// that it found.
func (s *peerScene) checkFrom(found map[string]peerLease, worker string) {
	s.t.Helper()
	handled := make(map[string]int)
	for _, h := range s.handlings() {
		if h.worker == worker && h.handled {
			handled[h.record.data]++
		}
	}
	wrong := 0
	for _, r := range s.records() {
		at := found[r.shard].checkpoint
		want := 0
		if checkpoint.Number(r.sequence, 0).Compare(at) > 0 {
			want = 1
		}
		if handled[r.data] != want {
			if wrong++; wrong <= 5 {
				s.t.Errorf("%s handled %q of %s, %s, %d times, want %d: it found the checkpoint %s", worker, r.data, r.shard, r.sequence, handled[r.data], want, at)
			}
		}
	}
}

// TestPeerNativeKCL3 keeps away from a fleet of KCL 3.x in its own mode, whose
// leader assigns the leases, and says why; the fleet goes on.
func TestPeerNativeKCL3(t *testing.T) {
	t.Parallel()
	s := newPeerScene(t, 2)
	stopFeeding := s.keepFeeding()
	java := s.startKCL(kcl3native)
	s.awaitHandling(java.name)
	for _, leases := range []string{"", sharedWithKCL} {
		p := s.startShardline(leases)
		p.awaitEnd()
		if p.cmd.ProcessState.ExitCode() <= 0 || !strings.Contains(p.tail(1), "CLIENT_VERSION_3X") || !strings.Contains(p.tail(1), s.application) {
			t.Errorf("leases {%s}: it ended with %s and said\n%s", leases, p.cmd.ProcessState, p.tail(5))
		}
	}
	s.awaitHandling(java.name)
	stopFeeding()
	s.awaitHandled()
	if s.receiver.count() > 0 {
		t.Errorf("Shardline delivered %d times", s.receiver.count())
	}
	java.stop()
	s.check()
}
