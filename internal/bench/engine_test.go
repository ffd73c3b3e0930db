package bench_test

import (
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/bench"
)

// TestEngine runs everything for a moment, and sees that there are figures.
func TestEngine(t *testing.T) {
	o := bench.EngineOptions{Destinations: []int{1, 3}, Keys: []int{1, 50}, Shards: 2, Size: 100, Concurrency: 4, Rounds: 2, Slice: 100 * time.Millisecond, IdleKeys: 640}
	res, err := bench.MeasureEngine(t.Context(), o, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Cells) != 4 || res.Cells[1].Destinations != 3 || res.Cells[1].Keys != 1 || res.Cells[2].Destinations != 1 || res.Cells[2].Keys != 50 {
		t.Errorf("cells %+v", res.Cells)
	}
	for _, c := range res.Cells {
		if c.PerSecond <= 0 || c.CPU <= 0 || c.Allocations <= 0 || c.Waits < 0 {
			t.Errorf("cell %+v", c)
		}
	}
	for stalled := range 2 {
		m, err := bench.MeasureEngineMemory(t.Context(), bench.Load{Destinations: 2, Keys: 10, Shards: 2, Size: 100, Concurrency: 4}, stalled, 200*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if m.RSS < 1<<20 || m.Deliveries <= 0 || m.Stalled != stalled {
			t.Errorf("memory %+v", m)
		}
	}
}

// TestEngineJudge: the cost with the most destinations is compared with that of
// ten, for each number of keys.
func TestEngineJudge(t *testing.T) {
	res := bench.EngineResult{
		Cells: []bench.EngineCell{
			{Destinations: 1, Keys: 1, CPU: 9}, {Destinations: 10, Keys: 1, CPU: 2}, {Destinations: 1000, Keys: 1, CPU: 3},
			{Destinations: 1, Keys: 7, CPU: 1}, {Destinations: 10, Keys: 7, CPU: 2}, {Destinations: 1000, Keys: 7, CPU: 3.1},
		},
		IdleLane: 2.5,
		Memory:   []bench.EngineMemory{{RSS: 300e6}, {RSS: 301e6}},
	}
	res.Judge()
	var verdicts []string
	for _, c := range res.Criteria {
		verdicts = append(verdicts, strings.Fields(c.String())[0])
	}
	if got := strings.Join(verdicts, " "); got != "ok MISSED MISSED ok MISSED" {
		t.Errorf("verdicts %s", got)
	}
}
