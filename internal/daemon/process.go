// Package daemon runs workers as processes of their own, for the demo and the
// benchmarks: what can be killed as in production.
package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a worker: the real run command in a process of its own.
type Process struct {
	Name string
	Log  string // file

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how; set before done is closed
}

// Start runs `shardline run` with a configuration file. Its log goes to a file
// of dir. The environment is added to this process's own.
func Start(executable, dir, name, config string, environment []string) (*Process, error) {
	p := &Process{Name: name, Log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(executable, "run", "--config", config)
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ID is the process's.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Kill ends the process as kill -9 does, and waits for it.
func (p *Process) Kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-p.done
}

// Ended says whether the process has ended, and how.
func (p *Process) Ended() (error, bool) {
	select {
	case <-p.done:
		return p.err, true
	default:
		return nil, false
	}
}

// Stop sends SIGTERM and expects a clean end.
func (p *Process) Stop(timeout time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("worker %s: %w: see %s", p.Name, p.err, p.Log)
		}
		return nil
	case <-time.After(timeout):
		p.Kill()
		return fmt.Errorf("worker %s did not stop within %s of SIGTERM: see %s", p.Name, timeout, p.Log)
	}
}
