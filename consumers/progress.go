package consumers

import (
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// progress is how far the reading of one shard has come, whichever way its
// records arrive. It is owned by the goroutine that reads.
type progress struct {
	source  *Source
	shard   string
	metrics shardMetrics
	logger  *zap.Logger

	// from is the position that the reading has reached: what it was told
	// first, then the last record returned. Reading anew begins AT it, never
	// after it, and what from covers is dropped. So the rest of an aggregated
	// record is not skipped, and a record that was trimmed meanwhile shows: the
	// first one read is beyond it.
	from    checkpoint.Position
	proving bool // the reading began at from's record, which has yet to be seen
}

// take turns records as the service gave them into those that from does not
// cover, and moves from to the last. The gap, if there is one, lies before them.
func (p *progress) take(raw []types.Record) ([]pipeline.Record, *pipeline.Gap) {
	if len(raw) == 0 {
		return nil, nil
	}
	gap := p.prove(raw[0])
	records := make([]pipeline.Record, 0, len(raw))
	bytes := 0
	for i := range raw {
		records = expand(records, &raw[i])
		bytes += len(raw[i].Data)
	}
	p.metrics.records.Add(float64(len(raw)))
	p.metrics.bytes.Add(float64(bytes))
	if p.from.IsNumber() {
		// They come in order: what from covers is at the front.
		first := slices.IndexFunc(records, func(r pipeline.Record) bool { return r.Position.Compare(p.from) > 0 })
		if first < 0 {
			first = len(records)
		}
		records = records[first:]
	}
	if len(records) > 0 {
		p.from = records[len(records)-1].Position
	}
	return records, gap
}

// prove looks at the first record of a reading that began at from's own
// record: another one means that the stream has trimmed that, and perhaps
// records behind it.
func (p *progress) prove(first types.Record) *pipeline.Gap {
	if !p.proving {
		return nil
	}
	p.proving = false
	to := checkpoint.Number(aws.ToString(first.SequenceNumber), 0)
	if checkpoint.Number(to.Sequence, p.from.Sub).Compare(p.from) <= 0 {
		return nil
	}
	p.source.metrics.gaps.WithLabelValues(p.source.name).Inc()
	p.logger.Error("possible gap: the stream has trimmed the record of the position; records behind it may be lost",
		zap.Stringer("position", p.from), zap.String("sequence_number", to.Sequence),
		zap.Timep("arrival", first.ApproximateArrivalTimestamp))
	gap := &pipeline.Gap{From: p.from, To: to}
	if first.ApproximateArrivalTimestamp != nil {
		gap.Until = *first.ApproximateArrivalTimestamp
	}
	return gap
}

// expand appends the user records of a record: itself, at sub-sequence number
// 0. The data is the SDK's own slice.
func expand(into []pipeline.Record, raw *types.Record) []pipeline.Record {
	r := pipeline.Record{
		Position:     checkpoint.Number(aws.ToString(raw.SequenceNumber), 0),
		PartitionKey: aws.ToString(raw.PartitionKey),
		Data:         raw.Data,
	}
	if raw.ApproximateArrivalTimestamp != nil {
		r.Arrival = *raw.ApproximateArrivalTimestamp
	}
	return append(into, r)
}
