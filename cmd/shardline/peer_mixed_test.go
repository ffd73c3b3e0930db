package main

import "testing"

// TestPeerMixedFleet lets Shardline and KCL workers share one lease table
// through starts, kill -9 of one of each, a split and a merge, under load: see
// check for what has to hold.
func TestPeerMixedFleet(t *testing.T) {
	t.Parallel()
	for _, version := range []kcl{kcl2, kcl3as2} {
		t.Run(version.name, func(t *testing.T) {
			t.Parallel()
			testMixedFleet(t, version)
		})
	}
}

const sharedWithKCL = "shared_with_kcl: true"

func testMixedFleet(t *testing.T, version kcl) {
	s := newPeerScene(t, 4)
	stopFeeding := s.keepFeeding()
	java1, java2 := s.startKCL(version), s.startKCL(version)
	s.awaitShared("two KCL workers share", java1.name, java2.name)
	go1, go2 := s.startShardline(sharedWithKCL), s.startShardline(sharedWithKCL)
	s.awaitShared("four workers share", java1.name, java2.name, go1.name, go2.name)

	java1.kill()
	go1.kill()
	java1.awaitEnd()
	go1.awaitEnd()
	s.awaitShared("the other two have everything", java2.name, go2.name)
	java3, go3 := s.startKCL(version), s.startShardline(sharedWithKCL)
	s.awaitShared("four workers share again", java2.name, go2.name, java3.name, go3.name)

	// A parent of each side, and a merge of one of each.
	s.split(s.openOf("kcl"))
	s.awaitReshard()
	s.split(s.openOf("shardline"))
	s.awaitReshard()
	s.merge()
	s.awaitReshard()
	stopFeeding()
	s.awaitHandled()
	java2.stop()
	java3.stop()
	go2.stop()
	go3.stop()
	s.check()
	s.checkLeases()
}

// TestPeerKCLAlone is the same without Shardline: what fails here too is the
// peers' own.
func TestPeerKCLAlone(t *testing.T) {
	t.Parallel()
	s := newPeerScene(t, 3)
	stopFeeding := s.keepFeeding()
	one, two := s.startKCL(kcl2), s.startKCL(kcl3as2)
	s.awaitShared("they share", one.name, two.name)
	one.kill()
	one.awaitEnd()
	s.awaitShared("the other one has everything", two.name)
	s.split(s.open()[0])
	s.awaitReshard()
	s.merge()
	s.awaitReshard()
	stopFeeding()
	s.awaitHandled()
	two.stop()
	s.check()
	s.checkLeases()
}
