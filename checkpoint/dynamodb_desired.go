package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The item of the state table that says what is desired.
const (
	desiredKey = "desired"
	aVersion   = "version" // N
	aDesired   = "desired" // S: JSON
)

// encodeDesired is the JSON of what is desired. ErrTooLarge.
func encodeDesired(d Desired) (string, error) {
	text, err := json.Marshal(d)
	if err == nil && len(text) > mostDesired {
		err = ErrTooLarge
	}
	if err != nil {
		return "", fmt.Errorf("encode the desired state: %w", err)
	}
	return string(text), nil
}

// decodeDesired refuses what it does not know: a newer version may ask for what
// this one would not do.
func decodeDesired(version int64, text string) (Desired, error) {
	d := Desired{}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Desired{}, err
	}
	d.Version = version
	return d, nil
}

// Desired reads what is desired, consistently.
func (d *DynamoDB) Desired(ctx context.Context) (Desired, error) {
	it, err := d.state(ctx, desiredKey)
	if err != nil || it == nil {
		return Desired{}, err
	}
	r := reading{item: it, table: d.stateTable, key: desiredKey}
	version := r.number(aVersion, true)
	desired, err := decodeDesired(version, text(it, aDesired))
	if err = errors.Join(r.err, err); err != nil {
		return Desired{}, fmt.Errorf("item %s of table %s cannot be read; a newer version of Shardline may have written it: %w: %w",
			desiredKey, d.stateTable, err, ErrForeign)
	}
	return desired, nil
}

// SetDesired writes what is desired. ErrConflict, ErrTooLarge.
func (d *DynamoDB) SetDesired(ctx context.Context, before int64, desired Desired) error {
	text, err := encodeDesired(desired)
	if err != nil {
		return err
	}
	in := &dynamodb.PutItemInput{
		TableName: &d.stateTable, Item: item{aStateKey: textValue(desiredKey), aVersion: numberValue(desired.Version), aDesired: textValue(text)},
		ExpressionAttributeNames: map[string]string{"#version": aVersion},
	}
	if before > 0 {
		in.ConditionExpression = aws.String("#version = :before")
		in.ExpressionAttributeValues = map[string]types.AttributeValue{":before": numberValue(before)}
	} else {
		in.ConditionExpression = aws.String("attribute_not_exists(#version)")
	}
	if _, err := d.client.PutItem(ctx, in, once); err != nil {
		return fmt.Errorf("write %s to table %s: %w", desiredKey, d.stateTable, storeError(err))
	}
	return nil
}

// ListNow reads all leases as they are: none that was there when the call began
// is missing, or older than then.
func (d *DynamoDB) ListNow(ctx context.Context) ([]Lease, error) {
	items, err := d.readAll(ctx, d.table)
	if err != nil {
		return nil, err
	}
	var leases []Lease
	for _, it := range items {
		if !isLease(it) {
			continue
		}
		l, err := d.decode(ctx, it)
		if errors.Is(err, errGone) { // its owner replaced its overflow meanwhile
			l, err = d.Get(ctx, text(it, aLeaseKey))
		}
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, err
		default:
			leases = append(leases, l)
		}
	}
	return leases, nil
}
