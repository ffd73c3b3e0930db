package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// ReadVMware reads every row of a table of vmware-go-kcl, consistently. The time
// is the service's. ErrNoTable, ErrForeign.
func (d *DynamoDB) ReadVMware(ctx context.Context, table string) ([]map[string]types.AttributeValue, time.Time, error) {
	out, err := d.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		return nil, time.Time{}, fmt.Errorf("%w: %s, in this account and region", ErrNoTable, table)
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("describe table %s: %w", table, storeError(err))
	}
	if checkSchema(table, vShardID, out.Table) != nil {
		var keys []string
		for _, k := range out.Table.KeySchema {
			keys = append(keys, string(k.KeyType)+" "+aws.ToString(k.AttributeName))
		}
		return nil, time.Time{}, fmt.Errorf("table %s is none of vmware-go-kcl: its key is %s, not HASH ShardID (S): %w", table, strings.Join(keys, ", "), ErrForeign)
	}
	now, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok || now.IsZero() {
		now = time.Now()
	}
	rows, err := d.readAll(ctx, table)
	return rows, now, err
}

// CreateSettled creates a lease, and settles an unknown outcome by a consistent
// read. One that is there already at the same position is as good, and so is
// one at an earlier time: an earlier run pinned it. ErrExists when it stands
// elsewhere; it is what comes with the error.
func (d *DynamoDB) CreateSettled(ctx context.Context, l Lease) (Lease, error) {
	for attempt := 0; ; attempt++ {
		if attempt > 0 && !sleep(ctx, min(100*time.Millisecond<<attempt, 5*time.Second)) {
			return Lease{}, fmt.Errorf("create lease %s in table %s: %w", l.Key, d.table, context.Cause(ctx))
		}
		err := d.Create(ctx, l)
		if err == nil || denied(err) {
			return l, err
		}
		now, readErr := d.Get(ctx, l.Key)
		switch {
		case readErr == nil && (now.Checkpoint == l.Checkpoint || earlier(now.Checkpoint, l.Checkpoint)):
			return now, nil
		case readErr == nil:
			return now, fmt.Errorf("create lease %s in table %s: %w", l.Key, d.table, ErrExists)
		case ctx.Err() != nil, attempt == 6:
			return Lease{}, err
		}
	}
}

// earlier says whether both are times, the first one not after the second.
func earlier(a, b Position) bool {
	t, timed := a.Time()
	u, timedToo := b.Time()
	return timed && timedToo && !t.After(u)
}
