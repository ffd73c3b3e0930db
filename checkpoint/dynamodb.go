package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"
)

// DynamoDBConfig is what NewDynamoDB needs.
type DynamoDBConfig struct {
	Client *dynamodb.Client
	// Table holds leases alone, in the Kinesis Client Library's format.
	Table string
	// StateTable holds what belongs to them: rosters, and what is too large
	// for a lease item.
	StateTable string
	// CoordinatorTable is where workers of KCL 3.x coordinate; empty: the
	// state table's name with -CoordinatorState for -state. It is only read, as
	// is their metrics table, with -WorkerMetricStats.
	CoordinatorTable string
	// Failover is the fail-over time of the table's workers: whoever writes
	// nothing for so long is dead. 0: 10 s.
	Failover time.Duration
	Format   KeyFormat
	Create   bool        // create missing tables
	Logger   *zap.Logger // nil: none
}

// DynamoDB is a Store in two DynamoDB tables. Writes are sent once: whether one
// of unknown outcome landed is the caller's to settle.
//
// An item of the lease table is only ever updated, so that attributes of others
// survive. Beside KCL's attributes stand tenure, askedBy, roster, behind, behindRef and
// checkpointTimestamp (the instant of AT_TIMESTAMP, which KCL does not store).
type DynamoDB struct {
	client      *dynamodb.Client
	table       string
	stateTable  string
	coordinator string
	native      *nativeFleet
	format      KeyFormat
	create      bool
	log         *zap.Logger

	mu      sync.Mutex
	rosters map[string][]string         // by fingerprint; immutable. Bounded by the rosters of the table's life: one per change of configuration
	parts   map[string]map[string]Entry // overflow by its name; immutable. What the last List did not name is dropped
	written map[string][]string         // names of overflow that this process wrote, by lease, until they are deleted
	current map[string]string           // the overflow that this tenure wrote last, by lease; it may be named again
}

// NewDynamoDB makes a store; call Prepare before anything else.
func NewDynamoDB(c DynamoDBConfig) *DynamoDB {
	d := &DynamoDB{
		client: c.Client, table: c.Table, stateTable: c.StateTable, coordinator: c.CoordinatorTable,
		format: c.Format, create: c.Create, log: c.Logger,
		rosters: map[string][]string{}, parts: map[string]map[string]Entry{}, written: map[string][]string{}, current: map[string]string{},
	}
	if d.coordinator == "" {
		d.coordinator = strings.TrimSuffix(c.StateTable, "-state") + "-CoordinatorState"
	}
	if d.log == nil {
		d.log = zap.NewNop()
	}
	failover := c.Failover
	if failover <= 0 {
		failover = 10 * time.Second
	}
	d.native = &nativeFleet{failover: failover}
	return d
}

// once keeps the SDK from repeating a write behind our back: a second try
// would run into the condition that the first one made false.
func once(o *dynamodb.Options) { o.Retryer = onceInTime{} }

// onceInTime sends a request once, and again when the service refused it for
// its date alone: the SDK has the service's date by then.
type onceInTime struct{ aws.NopRetryer }

// IsErrorRetryable says whether the SDK blames the clock.
func (onceInTime) IsErrorRetryable(err error) bool {
	var clock interface{ RetryableError() bool }
	return errors.As(err, &clock) && clock.RetryableError()
}

func (onceInTime) MaxAttempts() int                             { return 2 }
func (onceInTime) RetryDelay(int, error) (time.Duration, error) { return 0, nil }

// twice is for reads.
func twice(o *dynamodb.Options) { o.RetryMaxAttempts = 2 }

// List reads all leases, eventually consistently. ErrForeign when native workers
// of KCL 3.x have come to life since the last reading.
func (d *DynamoDB) List(ctx context.Context) ([]Lease, error) {
	leases, err := d.observe(ctx)
	if err != nil {
		return nil, err
	}
	return leases, d.native.live(time.Now())
}

// observe reads all leases, and what native workers of KCL 3.x tell beside them.
func (d *DynamoDB) observe(ctx context.Context) ([]Lease, error) {
	items, others, err := d.scan(ctx)
	if err != nil {
		return nil, err
	}
	var leases []Lease
	named := map[string]bool{}
	for _, it := range items {
		l, err := d.decode(ctx, it)
		if errors.Is(err, errGone) {
			// An old reading: its overflow is deleted already.
			l, err = d.Get(ctx, text(it, aLeaseKey))
			if errors.Is(err, ErrNotFound) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		named[text(it, aBehindRef)] = true
		leases = append(leases, l)
	}
	d.mu.Lock()
	for _, name := range d.current {
		named[name] = true
	}
	for name := range d.parts {
		if !named[name] {
			delete(d.parts, name) // it is read again if need be
		}
	}
	d.mu.Unlock()
	d.observeNative(ctx, others, leases)
	return leases, nil
}

// scan reads all items, in all pages: the leases, and the others that KCL 3.5
// keeps in the same table.
func (d *DynamoDB) scan(ctx context.Context) (leases, others []item, err error) {
	pages := dynamodb.NewScanPaginator(d.client, &dynamodb.ScanInput{TableName: &d.table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, twice)
		if err != nil {
			return nil, nil, fmt.Errorf("scan table %s: %w", d.table, storeError(err))
		}
		for _, it := range page.Items {
			if isLease(it) {
				leases = append(leases, it)
			} else {
				others = append(others, it)
			}
		}
	}
	return leases, others, nil
}

func isLease(it item) bool {
	kind := text(it, aEntityType)
	return kind == "" || kind == "LEASE"
}

// Get reads one lease consistently. ErrNotFound.
func (d *DynamoDB) Get(ctx context.Context, key string) (Lease, error) {
	for attempt := 0; ; attempt++ {
		out, err := d.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &d.table, Key: leaseKey(key), ConsistentRead: aws.Bool(true)}, twice)
		if err != nil {
			return Lease{}, fmt.Errorf("get lease %s of table %s: %w", key, d.table, storeError(err))
		}
		if out.Item == nil || !isLease(out.Item) {
			return Lease{}, fmt.Errorf("get lease %s of table %s: %w", key, d.table, ErrNotFound)
		}
		l, err := d.decode(ctx, out.Item)
		// Its owner may replace the overflow between the two reads.
		switch {
		case !errors.Is(err, errGone):
			return l, err
		case attempt == 3:
			return Lease{}, fmt.Errorf("%w; was the table replaced?: %w", err, ErrForeign)
		}
	}
}

// Create puts a lease without owner. ErrExists.
func (d *DynamoDB) Create(ctx context.Context, l Lease) error {
	u := d.update(l.Key)
	if err := d.savePositions(ctx, u, l, &l.Saved, true); err != nil {
		return fmt.Errorf("create lease %s: %w", l.Key, err)
	}
	it := encodeNew(l, u.set)
	_, err := d.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &d.table, Item: it, ConditionExpression: aws.String("attribute_not_exists(leaseKey)"),
	}, once)
	if err = storeError(err); errors.Is(err, ErrConflict) {
		err = ErrExists
		if u.ref != "" {
			_ = d.deleteOverflow(ctx, u.ref) // nobody names it
		}
	}
	if err != nil {
		return fmt.Errorf("create lease %s in table %s: %w", l.Key, d.table, err)
	}
	return nil
}

// Take makes owner the owner in a new tenure. ErrConflict.
func (d *DynamoDB) Take(ctx context.Context, seen Lease, owner, tenure string) (Lease, error) {
	// What an earlier tenure of ours wrote, others may have deleted since.
	d.mu.Lock()
	delete(d.current, seen.Key)
	d.mu.Unlock()
	u := d.update(seen.Key)
	u.asSeen(seen)
	u.setText(aOwner, owner)
	u.setText(aTenure, tenure)
	u.setNumber(aCounter, seen.Counter+1)
	u.remove(aHandingOver, aAskedBy)
	taken := seen.Clone()
	if seen.Owner != "" && seen.Owner != owner {
		taken.Switches++
		u.setNumber(aSwitches, taken.Switches)
	}
	if err := d.send(ctx, "take", u); err != nil {
		return Lease{}, err
	}
	taken.Owner, taken.Tenure, taken.HandingOver, taken.Counter = owner, tenure, "", seen.Counter+1
	return taken, nil
}

// Renew bumps the counter, and saves positions when save is not nil.
// ErrConflict, ErrTooLarge.
func (d *DynamoDB) Renew(ctx context.Context, held Lease, save *Saved) (Lease, error) {
	u := d.update(held.Key)
	u.asHeld(held)
	u.setNumber(aCounter, held.Counter+1)
	u.setThroughput(held.Throughput)
	if err := d.savePositions(ctx, u, held, save, false); err != nil {
		return Lease{}, fmt.Errorf("renew lease %s: %w", held.Key, err)
	}
	if err := d.send(ctx, "renew", u); err != nil {
		return Lease{}, err
	}
	held = held.Clone()
	held.apply(save)
	held.Counter++
	return held, nil
}

// Release gives the lease up. ErrConflict, ErrTooLarge.
func (d *DynamoDB) Release(ctx context.Context, held Lease, save *Saved) error {
	u := d.update(held.Key)
	u.asHeld(held)
	u.setNumber(aCounter, held.Counter+1)
	u.setThroughput(held.Throughput)
	u.remove(aTenure)
	if held.HandingOver == "" {
		u.remove(aOwner)
	} else {
		u.remove(aHandingOver, aAskedBy) // the owner is the one that asked
	}
	if err := d.savePositions(ctx, u, held, save, false); err != nil {
		return fmt.Errorf("release lease %s: %w", held.Key, err)
	}
	return d.send(ctx, "release", u)
}

// Ask asks the owner of a lease to hand it over to owner. ErrConflict.
func (d *DynamoDB) Ask(ctx context.Context, seen Lease, owner string) error {
	if seen.Owner == "" {
		return fmt.Errorf("ask for lease %s, which nobody owns: %w", seen.Key, ErrConflict)
	}
	u := d.update(seen.Key)
	u.is(aOwner, textValue(seen.Owner))
	u.isText(aTenure, seen.Tenure)
	u.isText(aHandingOver, "")
	u.setText(aOwner, owner)
	u.setText(aHandingOver, seen.Owner)
	u.setText(aAskedBy, owner)
	return d.send(ctx, "ask for", u)
}

// SetChildren writes the children's shard ids. ErrConflict.
func (d *DynamoDB) SetChildren(ctx context.Context, held Lease, children []string) error {
	u := d.update(held.Key)
	u.isText(aTenure, held.Tenure)
	u.setTexts(aChildren, children)
	return d.send(ctx, "set children of", u)
}

// Delete removes a lease. ErrConflict.
func (d *DynamoDB) Delete(ctx context.Context, seen Lease) error {
	u := d.update(seen.Key)
	u.asSeen(seen)
	out, err := d.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &d.table, Key: leaseKey(seen.Key), ConditionExpression: aws.String(u.condition()),
		ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.valuesOrNil(), ReturnValues: types.ReturnValueAllOld,
	}, once)
	if err != nil {
		return fmt.Errorf("delete lease %s of table %s: %w", seen.Key, d.table, storeError(err))
	}
	d.sweep(ctx, seen.Key, "", text(out.Attributes, aBehindRef))
	return nil
}

// send sends an update, and cleans up what the item named before and does not
// name now.
func (d *DynamoDB) send(ctx context.Context, verb string, u *update) error {
	in := &dynamodb.UpdateItemInput{
		TableName: &d.table, Key: leaseKey(u.key), ConditionExpression: aws.String(u.condition()),
		UpdateExpression: aws.String(u.expression()), ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.valuesOrNil(),
	}
	if u.positions {
		in.ReturnValues = types.ReturnValueAllOld
	}
	out, err := d.client.UpdateItem(ctx, in, once)
	if err != nil {
		return fmt.Errorf("%s lease %s of table %s: %w", verb, u.key, d.table, storeError(err))
	}
	if u.positions {
		d.sweep(ctx, u.key, u.ref, text(out.Attributes, aBehindRef))
	}
	return nil
}

// storeError finds the sentinel that an error of the service means. What is
// none stays as it is: its outcome is unknown.
func storeError(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	code := api.ErrorCode()
	if i := strings.LastIndexByte(code, '#'); i >= 0 {
		code = code[i+1:]
	}
	sentinel := error(nil)
	switch code {
	case "ConditionalCheckFailedException":
		return ErrConflict
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException":
		sentinel = ErrThrottled
	case "ItemCollectionSizeLimitExceededException":
		sentinel = ErrTooLarge
	case "ValidationException":
		if strings.Contains(strings.ToLower(api.ErrorMessage()), "item size") {
			sentinel = ErrTooLarge
		}
	}
	if sentinel == nil {
		return err
	}
	return fmt.Errorf("%w: %s: %s", sentinel, code, api.ErrorMessage())
}
