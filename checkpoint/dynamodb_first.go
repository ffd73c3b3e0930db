package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// aFirst is M, the positions by shard, of the state item first/STREAM.
const aFirst = "shards"

// First says where a stream's first leases begin, by shard: the state table
// has one item for it, which the first proposal makes.
func (d *DynamoDB) First(ctx context.Context, stream string, proposal map[string]Position) (map[string]Position, error) {
	key := "first/" + stream
	it, err := d.state(ctx, key)
	if err != nil || it != nil || len(proposal) == 0 {
		return d.decodeFirst(key, it, err)
	}
	shards := make(item, len(proposal))
	for shard, at := range proposal {
		shards[shard] = textValue(at.String())
	}
	_, err = d.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &d.stateTable, Item: item{aStateKey: textValue(key), aFirst: &types.AttributeValueMemberM{Value: shards}},
		ConditionExpression: aws.String("attribute_not_exists(#key)"), ExpressionAttributeNames: map[string]string{"#key": aStateKey},
	}, once)
	if err == nil {
		return proposal, nil
	}
	// Another worker was faster, or nobody knows whether this one was.
	if it, readErr := d.state(ctx, key); readErr == nil && it != nil {
		return d.decodeFirst(key, it, nil)
	}
	return nil, fmt.Errorf("write %s to table %s: %w", key, d.stateTable, storeError(err))
}

func (d *DynamoDB) decodeFirst(key string, it item, err error) (map[string]Position, error) {
	if err != nil || it == nil {
		return nil, err
	}
	m, ok := it[aFirst].(*types.AttributeValueMemberM)
	if !ok {
		return nil, fmt.Errorf("item %s of table %s, attribute %s: is no map: %w", key, d.stateTable, aFirst, ErrForeign)
	}
	first := make(map[string]Position, len(m.Value))
	for shard := range m.Value {
		at, err := ParsePosition(text(m.Value, shard))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("item %s of table %s, shard %s: %w", key, d.stateTable, shard, err), ErrForeign)
		}
		first[shard] = at
	}
	return first, nil
}
