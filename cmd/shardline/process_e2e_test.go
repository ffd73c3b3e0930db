package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// envWorker makes the test binary a worker: a process of the real run command,
// which a test may kill.
const envWorker = "SHARDLINE_TEST_WORKER"

// waitingTests is how many end-to-end tests run beside each other, whatever
// the number of cores: they mostly wait for fail-over times.
const waitingTests = "6"

func TestMain(m *testing.M) {
	if os.Getenv(envWorker) != "" {
		go endWithTest()
		os.Exit(run(context.Background(), os.Args[1:], environment{
			stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, hooks: crashHooks(os.Getenv(envCrash)),
		}))
	}
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", waitingTests); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// endWithTest ends a worker whose test has gone: the test keeps its standard
// input open.
func endWithTest() {
	io.Copy(io.Discard, os.Stdin)              //nolint:errcheck // whatever ended it
	syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // it cannot fail
}

const (
	// patience is how long a test waits for what has to come: far above what
	// it takes on a busy machine.
	patience = 60 * time.Second
	// look is how often a condition is looked at that cannot be signalled.
	look = 10 * time.Millisecond
)

// await waits until condition says nil; the test ends with its last word
// otherwise.
func await(t testing.TB, what string, condition func() error) {
	t.Helper()
	began := time.Now()
	if err := within(patience, condition); err != nil {
		t.Fatalf("%s: still not after %s: %v", what, patience, err)
	}
	if took := time.Since(began); took > patience/6 {
		t.Logf("%s: only after %s", what, took.Round(time.Second/10))
	}
}

func within(limit time.Duration, condition func() error) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); ; <-ticker.C {
		err := condition()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// process is one run of the command in a process of its own.
type process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and its log is whole

	mu  sync.Mutex
	log []string // standard error, by lines
}

// startProcess runs the command with args; environment is beside the test's
// own, without what would reach a real account.
func startProcess(t testing.TB, name string, environment []string, args ...string) *process {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startExecutable(t, executable, name, environment, args...)
}

// startExecutable is startProcess with another build of the command.
func startExecutable(t testing.TB, executable, name string, environment []string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(executable, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "SHARDLINE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, envWorker+"=1", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
	cmd.Env = append(cmd.Env, environment...)
	return startCommand(t, name, cmd)
}

// startCommand starts a process that ends with the test, and keeps its log.
func startCommand(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err := p.cmd.StdinPipe(); err != nil { // see endWithTest
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.collect(stderr)
	t.Cleanup(func() {
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-p.done
		if t.Failed() {
			t.Logf("log of %s, pid %d (%s):\n%s", p.name, p.cmd.Process.Pid, p.cmd.ProcessState, p.tail(60))
		}
		if race := p.race(); race != "" {
			t.Errorf("%s: %s", p.name, race)
		}
	})
	return p
}

// collect keeps the log and waits for the process.
func (p *process) collect(stderr io.Reader) {
	defer close(p.done)
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			p.mu.Lock()
			p.log = append(p.log, strings.TrimSuffix(line, "\n"))
			p.mu.Unlock()
		}
		if err != nil {
			break
		}
	}
	p.cmd.Wait() //nolint:errcheck // its state says how it ended
}

// race is the beginning of the first report of the race detector.
func (p *process) race() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, line := range p.log {
		if strings.Contains(line, "DATA RACE") {
			return strings.Join(p.log[i:min(len(p.log), i+60)], "\n")
		}
	}
	return ""
}

func (p *process) tail(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log[max(0, len(p.log)-n):], "\n")
}

// logged is the first line with all of the words; empty: there is none.
func (p *process) logged(words ...string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
next:
	for _, line := range p.log {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		return line
	}
	return ""
}

// count is how many lines have the words.
func (p *process) count(words string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, line := range p.log {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}

// loggedAt is the time of the first line after a time that has the words; far
// ahead when there is none.
func (p *process) loggedAt(words string, after time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		var l struct{ Time time.Time }
		if strings.Contains(line, words) && json.Unmarshal([]byte(line), &l) == nil && l.Time.After(after) {
			return l.Time
		}
	}
	return after.Add(time.Hour)
}

// awaitLog waits for a line with all of the words.
func (p *process) awaitLog(words ...string) string {
	p.t.Helper()
	line := ""
	await(p.t, fmt.Sprintf("%s logs %q", p.name, words), func() error {
		if line = p.logged(words...); line != "" {
			return nil
		}
		if p.ended() {
			return errors.New("it has ended")
		}
		return errors.New("no such line")
	})
	return line
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process as kill -9 does. It does not wait.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("kill %s: %v", p.name, err)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("%s to %s: %v", s, p.name, err)
	}
}

// awaitEnd waits until the process has ended.
func (p *process) awaitEnd() syscall.WaitStatus {
	p.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-p.done:
	case <-limit.C:
		p.t.Fatalf("%s has not ended after %s", p.name, patience)
	}
	return p.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// awaitExit waits for an end with that exit code.
func (p *process) awaitExit(code int) {
	p.t.Helper()
	if s := p.awaitEnd(); !s.Exited() || s.ExitStatus() != code {
		p.t.Fatalf("%s ended with %s, want exit code %d; its log:\n%s", p.name, p.cmd.ProcessState, code, p.tail(20))
	}
}

// awaitSignal waits for an end by that signal.
func (p *process) awaitSignal(s syscall.Signal) {
	p.t.Helper()
	if got := p.awaitEnd(); !got.Signaled() || got.Signal() != s {
		p.t.Fatalf("%s ended with %s, want signal %s; its log:\n%s", p.name, p.cmd.ProcessState, s, p.tail(20))
	}
}

// stop ends the process by SIGTERM and expects a clean end.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.awaitExit(0)
}

// metricsURL is where the worker serves its metrics.
func (p *process) metricsURL() string {
	p.t.Helper()
	var started struct{ Metrics string }
	if err := json.Unmarshal([]byte(p.awaitLog(`"starting"`)), &started); err != nil {
		p.t.Fatal(err)
	}
	return started.Metrics
}

// get asks the worker's own listener.
func (p *process) get(path string) (status int, body []byte) {
	p.t.Helper()
	url := strings.TrimSuffix(p.metricsURL(), "/metrics") + path
	var err error
	await(p.t, p.name+" answers "+path, func() error {
		var answer *http.Response
		if answer, err = http.Get(url); err != nil {
			return err
		}
		defer answer.Body.Close()
		status = answer.StatusCode
		body, err = io.ReadAll(answer.Body)
		return err
	})
	return status, body
}
