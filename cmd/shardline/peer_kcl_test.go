package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// kcl is a version of the Java library, and the mode that it runs in.
type kcl struct {
	name      string
	classPath string // the variable that names it
	mode      string // empty: 2.x has none
}

var (
	kcl2       = kcl{"KCL 2.7.2", "SHARDLINE_PEER_KCL_2_7_2", ""}
	kcl3as2    = kcl{"KCL 3.5.1 as 2.x", "SHARDLINE_PEER_KCL_3_5_1", "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X_PHASE1"}
	kcl3native = kcl{"KCL 3.5.1", "SHARDLINE_PEER_KCL_3_5_1", "CLIENT_VERSION_CONFIG_3X"}
)

// kclWorker is a process of internal/peers/kcl.
type kclWorker struct {
	*process
	events string // a file
}

// event is a line of Events.java.
type event struct {
	time     time.Time
	kind     string
	shard    string
	sequence string
	key      string
	data     string
}

// startKCL runs a worker of the application on the scene's stream.
func (s *peerScene) startKCL(version kcl) *kclWorker {
	s.t.Helper()
	name := s.nextName("kcl")
	events := filepath.Join(s.dir, name+".events")
	cmd := exec.Command("java", "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.log.software.amazon.kinesis.leases=info",
		"-Dorg.slf4j.simpleLogger.log.software.amazon.kinesis.leases.dynamodb.DynamoDBLeaseRefresher=warn",
		"-cp", peerVariable(s.t, version.classPath), "KclWorker",
		"kinesis="+s.kinesisURL, "dynamodb="+s.dynamodbURL, "account="+peerAccount, "region="+testRegion,
		"stream="+s.application, "application="+s.application, "worker="+name, "position=TRIM_HORIZON",
		fmt.Sprint("failover=", peerFailover.Milliseconds()), "events="+events)
	if version.mode != "" {
		cmd.Args = append(cmd.Args, "mode="+version.mode)
	}
	w := &kclWorker{process: startCommand(s.t, name, cmd), events: events}
	s.kcls = append(s.kcls, w)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("life of %s:\n%s", name, w.life())
		}
	})
	return w
}

// stop ends the worker by SIGTERM, gracefully: the virtual machine then
// answers with 128 + 15.
func (w *kclWorker) stop() {
	w.t.Helper()
	w.signal(syscall.SIGTERM)
	w.awaitExit(143)
	if log := w.log(); log[len(log)-1].kind != "stopped" {
		w.t.Errorf("%s has not stopped gracefully; its log:\n%s", w.name, w.tail(20))
	}
}

// log is what the worker did so far. A line that kill -9 cut is not there.
func (w *kclWorker) log() []event {
	w.t.Helper()
	text, err := os.ReadFile(w.events)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	var events []event
	for line := range bytes.Lines(text) {
		line, whole := strings.CutSuffix(string(line), "\n")
		if !whole {
			break
		}
		fields := append(strings.Split(line, "\t"), "", "", "", "")
		at, err := time.Parse(time.RFC3339Nano, fields[0])
		if err != nil {
			w.t.Fatalf("%s: event %q: %v", w.name, line, err)
		}
		events = append(events, event{time: at, kind: fields[1], shard: fields[2], sequence: fields[3], key: fields[4], data: fields[5]})
	}
	return events
}

// life is the log without the records, which are counted.
func (w *kclWorker) life() string {
	var b strings.Builder
	records := 0
	for _, e := range w.log() {
		switch e.kind {
		case "record":
			records++
		case "checkpoint":
		default:
			fmt.Fprintf(&b, "%s %s %s %s (after %d records)\n", e.time.Format("15:04:05.000"), e.kind, e.shard, e.sequence, records)
		}
	}
	fmt.Fprintf(&b, "%d records", records)
	return b.String()
}
