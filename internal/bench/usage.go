package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a worker process says of itself, and the kernel of it.
type usage struct {
	at         time.Time
	cpu        float64 // seconds, user and system
	rss        int64   // bytes
	window     int64   // bytes that the shard logs hold or have reserved
	goroutines int64
	laggards   int64              // destinations, by shard
	parked     int64              // keys
	reads      map[string]float64 // live ones, by shard
}

// readsSince is how often shards were read since an earlier look. A shard's
// counter ends with its reading.
func (u usage) readsSince(before usage) (n float64) {
	for shard, reads := range u.reads {
		if old := before.reads[shard]; reads >= old {
			n += reads - old
		} else {
			n += reads
		}
	}
	return n
}

// look reads a worker's usage.
func (w *worker) look(ctx context.Context) (u usage, err error) {
	u.at = time.Now()
	if u.cpu, u.rss, err = processUsage(w.ID()); err != nil {
		return u, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // a busy machine is no result
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.metrics, nil)
	if err != nil {
		return u, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return u, fmt.Errorf("ask %s for its metrics: %w", w.Name, err)
	}
	defer res.Body.Close()
	u.reads = make(map[string]float64)
	err = eachMetric(res.Body, func(name, labels string, v float64) {
		switch name {
		case "shardline_pipeline_window_bytes":
			u.window = int64(v)
		case "go_goroutines":
			u.goroutines = int64(v)
		case "shardline_pipeline_laggard_shards":
			u.laggards += int64(v)
		case "shardline_pipeline_parked_keys":
			u.parked += int64(v)
		case "shardline_consumers_reads_total":
			if strings.Contains(labels, `source="`+streamName+`"`) {
				u.reads[labels] = v
			}
		}
	})
	if err != nil {
		return u, fmt.Errorf("the metrics of %s: %w", w.Name, err)
	}
	return u, nil
}

// eachMetric reads Prometheus' text format.
func eachMetric(r io.Reader, f func(name, labels string, v float64)) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		labels := ""
		if at, end := strings.IndexByte(line, '{'), strings.LastIndexByte(line, '}'); at >= 0 && end > at {
			name, labels, rest = line[:at], line[at:end+1], line[end+1:]
		}
		fields := strings.Fields(rest) // a time stamp may follow the value
		if len(fields) == 0 {
			return fmt.Errorf("line %q has no value", line)
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		f(name, labels, v)
	}
	return lines.Err()
}

// processUsage is a process's time on the processors and its resident memory.
func processUsage(pid int) (cpu float64, rss int64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read a worker's CPU time: %w", err)
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 22 {
		return 0, 0, errors.New("read a worker's CPU time: /proc/PID/stat is short")
	}
	var n [3]int64 // utime, stime, rss: the 14th, 15th and 24th of proc(5)
	for i, at := range []int{14, 15, 24} {
		if n[i], err = strconv.ParseInt(fields[at-3], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("read a worker's CPU time: %w", err)
		}
	}
	const ticks = 100 // per second: USER_HZ on every Linux
	return float64(n[0]+n[1]) / ticks, n[2] * int64(os.Getpagesize()), nil
}

// mostMemoryOf is the most resident memory that a process has had. What
// getrusage(2) says begins with that of the process that started it.
func mostMemoryOf(pid string) (bytes int64, err error) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %s: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kB, err := strconv.ParseInt(fields[1], 10, 64)
			return kB << 10, err
		}
	}
	return 0, fmt.Errorf("read the memory of process %s: /proc/PID/status has no VmHWM", pid)
}
