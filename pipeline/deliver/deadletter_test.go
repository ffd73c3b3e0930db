package deliver_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

func openLetters(t *testing.T, path string) *deliver.FileDeadLetters {
	t.Helper()
	f, err := deliver.NewFileDeadLetters(path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// readLetters reads a file of letters; every line must be one.
func readLetters(t *testing.T, path string) []deliver.DeadLetter {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var letters []deliver.DeadLetter
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var l deliver.DeadLetter
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%.80q: %v", lines.Text(), err)
		}
		letters = append(letters, l)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		t.Error("the last line is not ended")
	}
	return letters
}

func letter(n int) deliver.DeadLetter {
	return deliver.DeadLetter{Destination: "channel", Sequence: fmt.Sprint(n), Data: []byte(fmt.Sprint("body ", n))}
}

func TestFileDeadLetters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "failed.jsonl")
	f := openLetters(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600: whole messages are in it", info.Mode(), err)
	}
	want := letter(1)
	want.Data = []byte{0, 0xff, '\n', '<'}
	want.LastAnswer = &deliver.Excerpt{Status: 400, Body: "<no> \xff&"}
	for _, l := range []deliver.DeadLetter{want, letter(2)} {
		if err := f.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	got := readLetters(t, path)
	if len(got) != 2 || !bytes.Equal(got[0].Data, want.Data) || got[0].LastAnswer.Body != "<no> \uFFFD&" || got[1].Sequence != "2" {
		t.Errorf("letters %+v", got)
	}
	// A second one appends.
	if err := openLetters(t, path).Put(t.Context(), letter(3)); err != nil {
		t.Fatal(err)
	}
	if n := len(readLetters(t, path)); n != 3 {
		t.Errorf("%d letters, want 3", n)
	}
}

func TestUnreadableRecordsGoToTheirSourcesLetters(t *testing.T) {
	box := &letterBox{}
	r := pipeline.Record{Position: checkpoint.Number("17", 2), PartitionKey: "pk", Data: []byte("<a"), Arrival: time.Unix(1700000001, 0)}
	if err := deliver.Unreadable(box)(t.Context(), shardInfo, r, errors.New("line 1: truncated")); err != nil {
		t.Fatal(err)
	}
	l := box.all()[0]
	if l.Destination != "" || l.Reason != "unreadable" || l.Detail != "line 1: truncated" || l.Sequence != "17" || l.SubSequence != 2 ||
		l.PartitionKey != "pk" || l.Source != "hotels" || l.Shard != shardInfo.Shard || l.Stream != shardInfo.Stream.ARN || string(l.Data) != "<a" || l.Attempts != 0 {
		t.Errorf("letter %+v", l)
	}
}

// TestGapsGoToTheirSourcesLetters: what a gap's note says, as JSON.
func TestGapsGoToTheirSourcesLetters(t *testing.T) {
	since, until := time.Unix(1700000001, 0).UTC(), time.Unix(1700000009, 0).UTC()
	for _, tc := range []struct {
		gap    pipeline.Gap
		reason string
		note   string
	}{
		{pipeline.Gap{From: checkpoint.Number("17", 2), To: checkpoint.Number("29", 0), Since: since, Until: until, Certain: true}, "gap",
			`{"from":"17:2","to":"29:0","since":"2023-11-14T22:13:21Z","until":"2023-11-14T22:13:29Z"}`},
		{pipeline.Gap{From: checkpoint.TrimHorizon}, "possible_gap", `{"from":"TRIM_HORIZON"}`},
	} {
		box := &letterBox{}
		if err := deliver.Gap(box)(t.Context(), shardInfo, tc.gap); err != nil {
			t.Fatal(err)
		}
		l := box.all()[0]
		note, err := json.Marshal(l.Gap)
		if err != nil {
			t.Fatal(err)
		}
		if string(note) != tc.note || l.Reason != tc.reason || l.Destination != "" || l.Sequence != tc.gap.To.Sequence || l.Data != nil ||
			l.Source != "hotels" || l.Shard != shardInfo.Shard || l.Stream != shardInfo.Stream.ARN {
			t.Errorf("note %s, want %s; letter %+v", note, tc.note, l)
		}
	}
}

func TestUnfinishedLineIsEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "failed.jsonl")
	if err := os.WriteFile(path, []byte(`{"sequence_number":"1"}`+"\n"+`{"sequence_nu`), 0o600); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.WarnLevel)
	f, err := deliver.NewFileDeadLetters(path, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Put(t.Context(), letter(2)); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(path)
	lines := strings.Split(string(data), "\n")
	if len(lines) != 4 || lines[1] != `{"sequence_nu` || !strings.Contains(lines[2], `"sequence_number":"2"`) || lines[3] != "" {
		t.Errorf("lines %q", lines)
	}
	if logs.Len() != 1 {
		t.Errorf("%d warnings, want 1", logs.Len())
	}
}

// faulty is a file with faults.
type faulty struct {
	deliver.DiskFile
	syncs  *atomic.Int64
	faults *faults
}

type faults struct {
	short    atomic.Bool // writes half and fails
	sync     atomic.Bool // fails
	truncate atomic.Bool // fails
	entered  chan struct{}
	gate     chan struct{} // nil: open; else each sync takes one
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.faults.short.Load() {
		n, err := f.DiskFile.Write(p[:len(p)/2])
		return n, errors.Join(err, syscall.ENOSPC)
	}
	return f.DiskFile.Write(p)
}

func (f *faulty) Sync() error {
	f.syncs.Add(1)
	if f.faults.gate != nil {
		f.faults.entered <- struct{}{}
		<-f.faults.gate
	}
	if f.faults.sync.Load() {
		return syscall.EIO
	}
	return f.DiskFile.Sync()
}

func (f *faulty) Truncate(size int64) error {
	if f.faults.truncate.Load() {
		return syscall.EIO
	}
	return f.DiskFile.Truncate(size)
}

func openFaulty(t *testing.T) (f *deliver.FileDeadLetters, path string, bad *faults, syncs *atomic.Int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "failed.jsonl")
	f, bad, syncs = openLetters(t, path), &faults{}, new(atomic.Int64)
	f.SetOpen(func(file deliver.DiskFile) deliver.DiskFile { return &faulty{file, syncs, bad} })
	return f, path, bad, syncs
}

func TestFailedWriteLeavesTheFileAsItWas(t *testing.T) {
	for name, set := range map[string]func(*faults, bool){
		"disk full":  func(f *faults, on bool) { f.short.Store(on) },
		"sync fails": func(f *faults, on bool) { f.sync.Store(on) },
	} {
		t.Run(name, func(t *testing.T) {
			f, path, bad, _ := openFaulty(t)
			if err := f.Put(t.Context(), letter(1)); err != nil {
				t.Fatal(err)
			}
			set(bad, true)
			for range 3 {
				if err := f.Put(t.Context(), letter(2)); err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("error %v, want one that names the file", err)
				}
			}
			if n := len(readLetters(t, path)); n != 1 {
				t.Errorf("%d letters, want the one that was acknowledged", n)
			}
			set(bad, false)
			if err := f.Put(t.Context(), letter(3)); err != nil {
				t.Error(err)
			}
			if got := readLetters(t, path); len(got) != 2 || got[1].Sequence != "3" {
				t.Errorf("letters %+v, want 1 and 3", got)
			}
		})
	}
	t.Run("and cannot be cut", func(t *testing.T) {
		f, path, bad, _ := openFaulty(t)
		bad.short.Store(true)
		bad.truncate.Store(true)
		if err := f.Put(t.Context(), letter(1)); err == nil {
			t.Error("no error")
		}
		bad.short.Store(false)
		if err := f.Put(t.Context(), letter(2)); err != nil {
			t.Fatal(err)
		}
		data, _ := os.ReadFile(path)
		lines := strings.Split(string(data), "\n")
		var l deliver.DeadLetter
		if len(lines) != 3 || json.Unmarshal([]byte(lines[1]), &l) != nil || l.Sequence != "2" {
			t.Errorf("lines %q, want a broken one, letter 2, and the end", lines)
		}
	})
}

func TestLettersShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, path, bad, syncs := openFaulty(t)
		bad.gate, bad.entered = make(chan struct{}), make(chan struct{})
		const letters = 20
		for n := range letters {
			go func() {
				if err := f.Put(t.Context(), letter(n)); err != nil {
					t.Error(err)
				}
			}()
			if n == 0 {
				<-bad.entered // the first is being synced; the others meet meanwhile
			}
		}
		synctest.Wait()
		bad.gate <- struct{}{}
		<-bad.entered
		bad.gate <- struct{}{}
		synctest.Wait()
		if n := len(readLetters(t, path)); n != letters || syncs.Load() != 2 {
			t.Errorf("%d letters by %d syncs, want %d by 2", n, syncs.Load(), letters)
		}
	})
}

func TestRenamedFileIsBegunAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "failed.jsonl")
	f := openLetters(t, path)
	for n := range 3 {
		if err := f.Put(t.Context(), letter(n)); err != nil {
			t.Fatal(err)
		}
		if n < 2 {
			if err := os.Rename(path, path+fmt.Sprint(n)); err != nil {
				t.Fatal(err)
			}
		}
		if n == 1 { // who renames may also make the new one
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n, name := range []string{path + "0", path + "1", path} {
		if got := readLetters(t, name); len(got) != 1 || got[0].Sequence != fmt.Sprint(n) {
			t.Errorf("%s: %+v, want letter %d", name, got, n)
		}
	}
}

// Several workers on one host may share the file.
func TestSeveralProcessesShareTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "failed.jsonl")
	var all sync.WaitGroup
	for p := range 4 {
		f := openLetters(t, path)
		for n := range 10 {
			all.Go(func() {
				if err := f.Put(t.Context(), letter(100*p+n)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	seen := map[string]bool{}
	for _, l := range readLetters(t, path) {
		seen[l.Sequence] = true
	}
	if len(seen) != 40 {
		t.Errorf("%d letters, want 40", len(seen))
	}
}

func TestPutEndsWithItsContext(t *testing.T) {
	f, _, bad, _ := openFaulty(t)
	bad.gate, bad.entered = make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() { first <- f.Put(t.Context(), letter(1)) }()
	<-bad.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Put(ctx, letter(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("Put while the disk hangs: %v, want the context's end", err)
	}
	bad.gate <- struct{}{}
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestLettersThatCannotBeOpened(t *testing.T) {
	if _, err := deliver.NewFileDeadLetters(filepath.Join(t.TempDir(), "no", "such", "folder"), zap.NewNop()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want that the folder does not exist", err)
	}
	if _, err := deliver.NewFileDeadLetters(t.TempDir(), zap.NewNop()); err == nil {
		t.Error("a folder was opened as a file")
	}
}

func TestFullDevice(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	f := openLetters(t, "/dev/full")
	if err := f.Put(t.Context(), letter(1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, want a full disk", err)
	}
}

// A dead letter queue that hangs holds up the keys that have letters for it, and
// no other, however many there are: they take no attempt's place.
func TestHangingLettersHoldUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if strings.HasPrefix(a.key, "wrong") {
				return deliver.Answer{Reason: deliver.ReasonRejected}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		hang := make(chan struct{})
		s := begin(t, deliver.Config{Transport: r, Concurrency: 2, DeadLetters: &letterBox{fail: func(deliver.DeadLetter) error { <-hang; return nil }}})
		for i := range 20 {
			s.put(fmt.Sprint("wrong-", i))
		}
		for range 20 {
			s.put("right")
		}
		synctest.Wait()
		if got := len(r.of("right", deliver.ReasonDelivered)); got != 20 {
			t.Errorf("%d records of the other key were delivered while letters hang, want 20", got)
		}
		close(hang)
		synctest.Wait()
		if s.cursor.Through() != 40 {
			t.Errorf("settled through %d, want 40", s.cursor.Through())
		}
	})
}
