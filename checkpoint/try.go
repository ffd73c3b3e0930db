package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// Tried is one call that a worker needs, and what came of trying it.
type Tried struct {
	Call    string // the permission's name: dynamodb:GetItem
	Of      string // what it was tried on
	Detail  string // what the answer says
	Err     error
	Skipped string // why it was not tried; empty: it was
}

// tryTimeout bounds one call that is tried.
const tryTimeout = 10 * time.Second

var authorised = regexp.MustCompile(`not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)`)

// Missing is the permission that the call lacks, by its name in policies;
// empty: none, or it was something else.
func (t Tried) Missing() string {
	var api smithy.APIError
	if !errors.As(t.Err, &api) {
		return ""
	}
	code := strings.TrimSuffix(api.ErrorCode()[strings.LastIndexByte(api.ErrorCode(), '#')+1:], "Exception")
	switch code {
	case "AccessDenied", "NotAuthorized", "UnauthorizedOperation":
		// The service may need another permission than the call's.
		if found := authorised.FindStringSubmatch(api.ErrorMessage()); found != nil {
			return found[1]
		}
		return t.Call
	case "KMSAccessDenied":
		return "kms:Decrypt"
	}
	return ""
}

// refusal is the service's answer without the SDK's own words.
type refusal struct{ smithy.APIError }

func (r refusal) Error() string { return r.ErrorCode() + ": " + r.ErrorMessage() }
func (r refusal) Unwrap() error { return r.APIError }

// Try tries every call that a worker makes to the two tables, and changes
// nothing: writes have a condition that cannot hold, which the service looks at
// after the permission. What does not exist is not created.
func (d *DynamoDB) Try(ctx context.Context) []Tried {
	tried := d.tryTable(ctx, d.table, aLeaseKey, true)
	return append(tried, d.tryTable(ctx, d.stateTable, aStateKey, false)...)
}

// tryTable tries the calls to one table; leases says that it is the lease
// table, which is also scanned and updated.
func (d *DynamoDB) tryTable(ctx context.Context, table, key string, leases bool) []Tried {
	// An item that is nobody's; the condition does not hold for any other
	// either.
	const name = "shardline-validate"
	id := item{key: textValue(name)}
	names := map[string]string{"#key": key}
	never := aws.String("attribute_exists(#key) AND attribute_not_exists(#key)")

	var tried []Tried
	try := func(call string, f func(ctx context.Context) (string, error)) error {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		detail, err := f(ctx)
		var unheld *types.ConditionalCheckFailedException
		if errors.As(err, &unheld) {
			err = nil
		}
		var api smithy.APIError
		if errors.As(err, &api) {
			err = refusal{api}
		}
		tried = append(tried, Tried{Call: "dynamodb:" + call, Of: table, Detail: detail, Err: err})
		return err
	}

	err := try("DescribeTable", func(ctx context.Context) (string, error) {
		out, err := d.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table}, twice)
		if err != nil {
			return "", err
		}
		return string(out.Table.TableStatus), checkSchema(table, key, out.Table)
	})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing) && d.create:
		tried[0].Err = nil
		tried[0].Detail = "the table does not exist yet"
		return append(tried, Tried{Call: "dynamodb:CreateTable", Of: table, Skipped: "a worker creates the table when it starts; the other calls can be tried then"})
	case errors.As(err, &missing):
		tried[0].Err = fmt.Errorf("table %s does not exist; create it with the hash key %s (S), or set leases.create_tables: %w", table, key, ErrForeign)
		return tried
	case errors.Is(err, ErrForeign):
		return tried
	}
	if leases {
		_ = try("Scan", func(ctx context.Context) (string, error) { return d.tryScan(ctx, table) })
	}
	_ = try("GetItem", func(ctx context.Context) (string, error) {
		_, err := d.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: id, ConsistentRead: aws.Bool(true)}, twice)
		return "", err
	})
	_ = try("PutItem", func(ctx context.Context) (string, error) {
		_, err := d.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: id, ConditionExpression: never, ExpressionAttributeNames: names}, twice)
		return "", err
	})
	if leases {
		_ = try("UpdateItem", func(ctx context.Context) (string, error) {
			_, err := d.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: &table, Key: id, ConditionExpression: never, ExpressionAttributeNames: names,
				UpdateExpression: aws.String("REMOVE " + aOwner)}, twice)
			return "", err
		})
	}
	_ = try("DeleteItem", func(ctx context.Context) (string, error) {
		_, err := d.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: id, ConditionExpression: never, ExpressionAttributeNames: names}, twice)
		return "", err
	})
	return tried
}

// tryScan reads the lease table, as every pass of a worker does, and says
// whether the keys have the configured form, and what workers refuse.
func (d *DynamoDB) tryScan(ctx context.Context, table string) (string, error) {
	leases := 0
	var refused error // the first; a key of the other form says more
	pages := dynamodb.NewScanPaginator(d.client, &dynamodb.ScanInput{TableName: &table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, twice)
		if err != nil {
			return "", err
		}
		for _, it := range page.Items {
			if !isLease(it) {
				continue
			}
			if _, _, err := ParseLeaseKey(d.format, text(it, aLeaseKey)); err != nil {
				return "", fmt.Errorf("table %s: %w; set leases.key_format to the other, or use another table: %w", table, err, ErrForeign)
			}
			leases++
			// Whether the state table may be read is a call of its own.
			_, err := d.decode(ctx, it)
			var missing *types.ResourceNotFoundException
			if errors.As(err, &missing) {
				err = fmt.Errorf("table %s does not exist, and lease %s names an item of it: %w", d.stateTable, text(it, aLeaseKey), ErrForeign)
			}
			if refused == nil && errors.Is(err, ErrForeign) {
				refused = err
			}
		}
	}
	if refused != nil {
		return "", fmt.Errorf("%w; shardline leases check names everything", refused)
	}
	return fmt.Sprintf("leases: %d", leases), nil
}
