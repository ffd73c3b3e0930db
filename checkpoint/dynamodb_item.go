package checkpoint

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The attributes of a lease item: the Kinesis Client Library's, and ours.
const (
	aLeaseKey     = "leaseKey"
	aOwner        = "leaseOwner"
	aCounter      = "leaseCounter"
	aSwitches     = "ownerSwitchesSinceCheckpoint"
	aCheckpoint   = "checkpoint"
	aSub          = "checkpointSubSequenceNumber"
	aPending      = "pendingCheckpoint"
	aPendingSub   = "pendingCheckpointSubSequenceNumber"
	aPendingState = "pendingCheckpointState"
	aParents      = "parentShardId"
	aChildren     = "childShardIds"
	aHashFrom     = "startingHashKey"
	aHashTo       = "endingHashKey"
	aStreamName   = "streamName"
	aShardID      = "shardId"
	aHandingOver  = "checkpointOwner"
	aEntityType   = "entityType"
	aThroughput   = "throughputKBps" // of 3.x

	aTenure       = "tenure"
	aAskedBy      = "askedBy"             // who asked for the lease, while checkpointOwner hands it over
	aRoster       = "roster"              // fingerprint of a roster item of the state table
	aBehind       = "behind"              // M: subscriber to entry
	aBehindRef    = "behindRef"           // the items of the state table with the entries that are too many
	aStream       = "stream"              // of a single-stream table: account:stream:epoch
	aInstant      = "checkpointTimestamp" // of AT_TIMESTAMP or LATEST, Unix milliseconds
	aAcknowledged = "acknowledged"        // N: a version of the desired state
)

// encodeNew is the item of a lease that nobody has owned yet. positions are the
// attributes of what is saved in it.
func encodeNew(l Lease, positions item) item {
	it := maps.Clone(positions)
	it[aLeaseKey] = textValue(l.Key)
	it[aCounter] = numberValue(0)
	it[aSwitches] = numberValue(0)
	switch {
	case l.Stream == "":
	case l.Key == l.Shard: // single_stream: KCL's own attributes would say that it is not
		it[aStream] = textValue(l.Stream)
	default:
		it[aStreamName], it[aShardID] = textValue(l.Stream), textValue(l.Shard)
	}
	for name, s := range map[string]string{aHashFrom: l.HashFrom, aHashTo: l.HashTo} {
		if s != "" {
			it[name] = textValue(s)
		}
	}
	for name, set := range map[string][]string{aParents: l.Parents, aChildren: l.Children} {
		if len(set) > 0 {
			it[name] = textsValue(set)
		}
	}
	return it
}

// setCheckpoint writes a position into KCL's two attributes and our third.
func (u *update) setCheckpoint(p Position) {
	u.setText(aCheckpoint, p.Sequence)
	u.setNumber(aSub, 0)
	switch at, isTime := p.Time(); {
	case isTime:
		u.setNumber(aInstant, at.UnixMilli())
		return
	case p.IsNumber():
		u.setNumber(aSub, p.Sub)
	case p.Sequence == "":
		u.setText(aCheckpoint, trimHorizon)
	}
	u.remove(aInstant)
}

// decode reads a lease item, and what belongs to it from the state table.
func (d *DynamoDB) decode(ctx context.Context, it item) (Lease, error) {
	r := reading{item: it, table: d.table, key: text(it, aLeaseKey)}
	l := r.lease(d.format)
	if r.err != nil {
		return Lease{}, r.err
	}
	var err error
	if fp := text(it, aRoster); fp != "" {
		if l.Roster, err = d.roster(ctx, fp); err != nil {
			return Lease{}, fmt.Errorf("table %s, lease %s: %w", d.table, r.key, err)
		}
	}
	if ref := text(it, aBehindRef); ref != "" {
		entries, err := d.overflow(ctx, ref)
		if err != nil {
			return Lease{}, fmt.Errorf("table %s, lease %s: %w", d.table, r.key, err)
		}
		inItem := l.Behind
		l.Behind = Saved{Behind: entries}.Clone().Behind
		maps.Copy(l.Behind, inItem) // the newer ones
	}
	return l, nil
}

// reading reads attributes and remembers those that are not as they must be.
type reading struct {
	item  item
	table string
	key   string
	err   error   // the first
	all   []wrong // every one
}

// wrong is an attribute that is not as it must be.
type wrong struct{ attribute, text string }

// lease reads what the item itself says.
func (r *reading) lease(format KeyFormat) Lease {
	l := Lease{
		Key:         r.key,
		Owner:       text(r.item, aOwner),
		Counter:     r.number(aCounter, true),
		Tenure:      text(r.item, aTenure),
		HandingOver: text(r.item, aHandingOver),
		Switches:    r.number(aSwitches, true),
		Parents:     r.texts(aParents),
		Children:    r.texts(aChildren),
		HashFrom:    text(r.item, aHashFrom),
		HashTo:      text(r.item, aHashTo),
		Throughput:  r.decimal(aThroughput),
	}
	if asker := text(r.item, aAskedBy); asker != "" && asker != l.Owner {
		l.HandingOver = "" // taken meanwhile by a worker of KCL 2.x, which leaves both
	}
	l.Checkpoint = r.checkpoint()
	l.Behind = r.behind(r.item[aBehind], aBehind)
	l.Acknowledged = r.number(aAcknowledged, false)
	var err error
	if l.Stream, l.Shard, err = ParseLeaseKey(format, r.key); err != nil {
		r.all = append(r.all, wrong{aLeaseKey, err.Error() + "; set leases.key_format to the other, or use another table"})
		if r.err == nil {
			r.err = fmt.Errorf("table %s: %w; set leases.key_format to the other, or use another table: %w", r.table, err, ErrForeign)
		}
	}
	if format == SingleStream {
		l.Stream = text(r.item, aStream)
	}
	return l
}

func (r *reading) wrong(attribute, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.all = append(r.all, wrong{attribute, text})
	if r.err == nil {
		r.err = fmt.Errorf("table %s, lease %q, attribute %s: %s: %w", r.table, r.key, attribute, text, ErrForeign)
	}
}

// text is "" when the attribute is absent.
func text(it item, attribute string) string {
	s, _ := it[attribute].(*types.AttributeValueMemberS)
	if s == nil {
		return ""
	}
	return s.Value
}

// number truncates a fraction: 3.x workers write numbers with decimals.
func (r *reading) number(attribute string, mandatory bool) int64 {
	v, ok := r.item[attribute]
	if !ok {
		if mandatory {
			r.wrong(attribute, "is missing; this is not a lease, or a damaged one")
		}
		return 0
	}
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		r.wrong(attribute, "is no number")
		return 0
	}
	f, ok := new(big.Rat).SetString(n.Value)
	if !ok {
		r.wrong(attribute, "%q is no number", n.Value)
		return 0
	}
	whole := new(big.Int).Quo(f.Num(), f.Denom())
	if !whole.IsInt64() {
		r.wrong(attribute, "%q does not fit into 64 bits", n.Value)
	}
	return whole.Int64()
}

// decimal is 0 when the attribute is absent, or nothing to reckon with.
func (r *reading) decimal(attribute string) float64 {
	n, ok := r.item[attribute].(*types.AttributeValueMemberN)
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsInf(f, 0) || !(f > 0) {
		return 0
	}
	return f
}

func (r *reading) texts(attribute string) []string {
	switch v := r.item[attribute].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberSS:
		return slices.Sorted(slices.Values(v.Value))
	default:
		r.wrong(attribute, "is no set of strings")
		return nil
	}
}

// checkpoint of a KCL worker at AT_TIMESTAMP has no instant: it is read as the
// beginning of time, as nothing is settled there.
func (r *reading) checkpoint() Position {
	s := text(r.item, aCheckpoint)
	if s == "" {
		r.wrong(aCheckpoint, "is missing; this is not a lease, or a damaged one")
		return Position{}
	}
	p, err := ParsePosition(s)
	switch {
	case err != nil || s != p.Sequence && s != trimHorizon:
		r.wrong(aCheckpoint, "%q is neither a sequence number nor TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END", s)
	case p.IsNumber():
		p.Sub = r.number(aSub, false)
	case s == atTimestamp || s == latest:
		p.Sub = r.number(aInstant, false)
	}
	return p
}

// behind reads a map of entries: a position, or a position and the keys' own.
func (r *reading) behind(v types.AttributeValue, attribute string) map[string]Entry {
	if v == nil {
		return nil
	}
	m, ok := v.(*types.AttributeValueMemberM)
	if !ok {
		r.wrong(attribute, "is no map")
		return nil
	}
	entries := make(map[string]Entry, len(m.Value))
	for name, v := range m.Value {
		e, err := decodeEntry(v)
		if err != nil {
			r.wrong(attribute, "entry of %q: %v; a newer version may have written it", name, err)
		}
		entries[name] = e
	}
	return entries
}
