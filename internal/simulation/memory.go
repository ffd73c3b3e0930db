package simulation

import (
	"time"

	"github.com/shardline/shardline/pipeline"
)

// watchMemory puts looks at what every process holds on the agenda.
func (h *history) watchMemory() {
	for at := 5 * time.Second; at < h.length; at += 5 * time.Second {
		h.at(at, h.remember)
	}
}

// oneRead is what a batch takes at most, with what a log needs for its entries.
const oneRead = pipeline.ReadBytes + pipeline.ReadRecords*512

// remember checks P5: the shard logs hold at most the window and one read per
// shard; catch-up, and the lanes that are kept without a log, at most the window
// and two reads, however long somebody is down.
func (h *history) remember() {
	for _, p := range h.slots {
		if p == nil || p.crashed() || p.memory.Load() == nil {
			continue
		}
		families, err := p.memory.Load().Gather()
		if err != nil {
			continue // a worker that ends
		}
		var logs, catchUp int64
		shards := 0
		for _, f := range families {
			switch f.GetName() {
			case "shardline_pipeline_window_bytes":
				logs = int64(f.GetMetric()[0].GetGauge().GetValue())
			case "shardline_pipeline_catch_up_bytes":
				catchUp = int64(f.GetMetric()[0].GetGauge().GetValue())
			case "shardline_pipeline_saved_age_seconds":
				shards = len(f.GetMetric())
			}
		}
		h.mu.Lock()
		if most := p.window + int64(shards)*oneRead; logs > most {
			h.check.broken("P5", "%s holds %d bytes in the logs of %d shards, more than %d", p.id, logs, shards, most)
		}
		if most := p.window + 2*oneRead; catchUp > most {
			h.check.broken("P5", "%s holds %d bytes for those behind, more than %d", p.id, catchUp, most)
		}
		h.mu.Unlock()
	}
}
