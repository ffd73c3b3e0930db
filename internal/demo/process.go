package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a worker: the real run command in a process of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the process has ended
	err  error         // how; set before done is closed
}

// startProcess runs `shardline run` with a configuration file. Its log goes
// to a file of dir.
func startProcess(executable, dir, name, config string, environment []string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(executable, "run", "--config", config)
	p.cmd.Env = append(append(os.Environ(), environment...), "DEMO_DIR="+dir, "DEMO_WORKER="+name)
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

// kill ends the process as kill -9 does, and waits for it.
func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-p.done
}

// ended says whether the process has ended, and how.
func (p *process) ended() (error, bool) {
	select {
	case <-p.done:
		return p.err, true
	default:
		return nil, false
	}
}

// stop sends SIGTERM and expects a clean end.
func (p *process) stop(timeout time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("worker %s: %w: see %s", p.name, p.err, p.log)
		}
		return nil
	case <-time.After(timeout):
		p.kill()
		return fmt.Errorf("worker %s did not stop within %s of SIGTERM: see %s", p.name, timeout, p.log)
	}
}
