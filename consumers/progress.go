package consumers

import (
	"math"
	"slices"
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
	p.metrics.records.Add(float64(len(raw)))
	if len(p.raw) > 0 {
		raw = append(p.raw, raw...) // nothing is lost, whoever takes too early
	}
	p.raw = raw
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
	bytes, done := 0, 0
	for done < len(p.raw) && len(records) < pipeline.ReadRecords {
		raw := &p.raw[done]
		switch {
		case covering && checkpoint.Number(aws.ToString(raw.SequenceNumber), math.MaxInt64).Compare(p.from) <= 0:
			// Whatever is in it.
		case p.inner.open() || looksAggregated(raw.Data):
			records = p.expand(records, raw)
		default:
			records = append(records, pipeline.Record{})
			plain(&records[len(records)-1], raw)
		}
		if covering && len(records) > 0 {
			first := slices.IndexFunc(records, func(r pipeline.Record) bool { return r.Position.Compare(p.from) > 0 })
			covering = first < 0
			if covering {
				first = len(records)
			}
			records = slices.Delete(records, 0, first)
		}
		if !p.inner.open() {
			bytes += len(raw.Data)
			done++
		}
	}
	if p.raw = p.raw[done:]; len(p.raw) == 0 {
		p.raw = nil
	}
	if len(records) > 0 {
		last := &records[len(records)-1]
		p.from, p.since = last.Position, last.Arrival
	}
	p.metrics.bytes.Add(float64(bytes))
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

// plain makes r a record as it is, at sub-sequence number 0. The data is the
// SDK's own slice.
func plain(r *pipeline.Record, raw *types.Record) {
	r.Position = checkpoint.Number(aws.ToString(raw.SequenceNumber), 0)
	r.PartitionKey, r.Data = aws.ToString(raw.PartitionKey), raw.Data
	if raw.ApproximateArrivalTimestamp != nil {
		r.Arrival = *raw.ApproximateArrivalTimestamp
	}
}

// expand appends the user records of an aggregated record, as many as a batch
// has room for: p.inner has the rest. What is no aggregate is appended as it is.
//
// An aggregate that nobody gets anything of, because it is empty or because
// the range drops it, becomes one blank record at its last position. So
// positions move past it: nothing stands still, or is read again, because of
// it.
func (p *progress) expand(into []pipeline.Record, raw *types.Record) []pipeline.Record {
	var r pipeline.Record
	plain(&r, raw)
	if !p.inner.open() {
		a, what := p.open(raw)
		switch what {
		case outcomeDamaged:
			return append(into, r)
		case outcomeEmpty, outcomeOutOfRange:
			r.Blank, r.Data = true, nil
			r.Position.Sub = max(0, a.count-1)
			return append(into, r)
		}
		p.inner = a
	}
	if n := int(p.inner.count - p.inner.next); n > cap(into)-len(into) {
		// The records behind it are likely to be of its kind.
		into = slices.Grow(into, min(min(n, pipeline.ReadRecords)*len(p.raw), pipeline.ReadRecords-len(into)))
	}
	for p.inner.open() && len(into) < pipeline.ReadRecords {
		r.Position.Sub = p.inner.next
		u := p.inner.take()
		r.PartitionKey, r.Data = p.inner.keys[u.key], u.data
		into = append(into, r)
	}
	if !p.inner.open() {
		p.inner = aggregate{}
	}
	return into
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
