package consumers

import (
	"math"
	"time"

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
	proving bool      // the reading began at from's record, which has yet to be seen
	since   time.Time // what arrived before it was read, by the service's clock; zero: not known

	hashKeys hashRange      // the shard's
	raw      []types.Record // taken and not returned yet, from the first on
	inner    aggregate      // of the first, when it is open
	warned   map[outcome]bool
}

// take accepts records as the service gave them, and returns the first of
// those that from does not cover; more returns the rest. The gap, if there is
// one, lies before them.
func (p *progress) take(raw []types.Record) ([]pipeline.Record, *pipeline.Gap) {
	if len(raw) == 0 {
		return p.more(), nil
	}
	gap := p.prove(raw[0])
	bytes := 0
	for i := range raw {
		bytes += len(raw[i].Data)
	}
	p.metrics.records.Add(float64(len(raw)))
	p.metrics.bytes.Add(float64(bytes))
	p.raw = append(p.raw, raw...)
	return p.more(), gap
}

// left says whether more has anything to return.
func (p *progress) left() bool { return len(p.raw) > 0 }

// more returns records of what was taken, and moves from to the last of them.
// They are as many as one answer of plain records may hold, at most: aggregated
// records may be thousands of times as many, and are opened as they are needed.
func (p *progress) more() []pipeline.Record {
	records := make([]pipeline.Record, 0, min(len(p.raw), pipeline.ReadRecords))
	covering := p.from.IsNumber() // records come in order: what from covers is at the front
	for len(p.raw) > 0 && len(records) < pipeline.ReadRecords {
		if covering && checkpoint.Number(aws.ToString(p.raw[0].SequenceNumber), math.MaxInt64).Compare(p.from) <= 0 {
			p.shift() // whatever is in it
			continue
		}
		r := p.expand()
		if covering {
			if r.Position.Compare(p.from) <= 0 {
				continue
			}
			covering = false
		}
		records = append(records, r)
	}
	if len(records) > 0 {
		last := &records[len(records)-1]
		p.from, p.since = last.Position, last.Arrival
	}
	if len(p.raw) == 0 {
		p.raw = nil
	}
	p.metrics.userRecords.Add(float64(len(records)))
	return records
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
	gap := &pipeline.Gap{From: p.from, To: to, Since: p.since}
	if first.ApproximateArrivalTimestamp != nil {
		gap.Until = *first.ApproximateArrivalTimestamp
	}
	return gap
}

// unproven is the gap of a shard that ended before from's record was seen.
func (p *progress) unproven() *pipeline.Gap {
	if !p.proving {
		return nil
	}
	p.proving = false
	return &pipeline.Gap{From: p.from, Since: p.since}
}

// expand returns the next record of what was taken: a user record of an
// aggregate, or a record as it is, at sub-sequence number 0. The data is the
// SDK's own slice.
//
// An aggregate that nobody gets anything of, because it is empty or because
// the range drops it, becomes one blank record at its last position. So
// positions move past it: nothing stands still, or reads it again, because of
// it.
func (p *progress) expand() pipeline.Record {
	raw := &p.raw[0]
	r := pipeline.Record{
		Position:     checkpoint.Number(aws.ToString(raw.SequenceNumber), 0),
		PartitionKey: aws.ToString(raw.PartitionKey),
		Data:         raw.Data,
	}
	if raw.ApproximateArrivalTimestamp != nil {
		r.Arrival = *raw.ApproximateArrivalTimestamp
	}
	if !p.inner.open() && looksAggregated(raw.Data) {
		switch a, what := p.open(raw); what {
		case outcomeExpanded:
			p.inner = a
		case outcomeEmpty, outcomeOutOfRange:
			r.Blank, r.Data = true, nil
			r.Position.Sub = max(0, a.count-1)
		}
	}
	if p.inner.open() {
		r.Position.Sub = p.inner.next
		u := p.inner.take()
		r.PartitionKey, r.Data = p.inner.keys[u.key], u.data
	}
	if !p.inner.open() {
		p.inner = aggregate{}
		p.shift()
	}
	return r
}

// shift lets go of the first record.
func (p *progress) shift() {
	p.raw[0] = types.Record{}
	p.raw = p.raw[1:]
}

// outcome is what became of a record that looks aggregated: the values of a
// metric's label.
type outcome string

const (
	outcomeExpanded   outcome = "expanded"
	outcomeEmpty      outcome = "empty"        // it holds nothing
	outcomeOutOfRange outcome = "out_of_range" // dropped: a user record belongs to another shard
	outcomeDamaged    outcome = "damaged"      // handed on as it is
)

var outcomes = []outcome{outcomeExpanded, outcomeEmpty, outcomeOutOfRange, outcomeDamaged}

// open opens an aggregated record and decides what becomes of it.
func (p *progress) open(raw *types.Record) (aggregate, outcome) {
	a, err := openAggregate(raw.Data)
	what := outcomeExpanded
	switch {
	case err != nil:
		what = outcomeDamaged
	case a.count == 0:
		what = outcomeEmpty
	case p.source.outOfRange == DropOutOfRange && !a.within(p.hashKeys):
		what = outcomeOutOfRange
	}
	if aws.ToString(raw.SequenceNumber) == p.from.Sequence {
		return a, what // it comes again, to be continued
	}
	p.source.metrics.aggregates.WithLabelValues(p.source.name, string(what)).Inc()
	if p.warned[what] {
		return a, what
	}
	switch what {
	case outcomeDamaged:
		p.logger.Warn("a record looks aggregated and is none: it is delivered as it is, and so are further ones",
			zap.Stringp("sequence_number", raw.SequenceNumber), zap.Error(err))
	case outcomeOutOfRange:
		p.logger.Warn("dropped an aggregated record with a user record of another shard, as the producer library sends such records again; further ones are counted",
			zap.Stringp("sequence_number", raw.SequenceNumber), zap.Int64("user_records", a.count))
	default:
		return a, what
	}
	if p.warned == nil {
		p.warned = make(map[outcome]bool)
	}
	p.warned[what] = true
	return a, what
}
