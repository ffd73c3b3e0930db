package localaws_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/internal/localaws"
)

type attributes = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(n string) types.AttributeValue { return &types.AttributeValueMemberN{Value: n} }

// leases makes a table with a hash key, leaseKey.
func (w *world) leases(d *dynamodb.Client) *string {
	w.t.Helper()
	_, err := d.CreateTable(background, &dynamodb.CreateTableInput{
		TableName:            aws.String("leases"),
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
	})
	w.must(err)
	return aws.String("leases")
}

func TestConditionalUpdateHasOneWinner(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: attributes{"leaseKey": str("a"), "leaseCounter": num("1")}})
	w.must(err)
	for round := range 5 {
		var winners atomic.Int32
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				_, err := d.UpdateItem(background, &dynamodb.UpdateItemInput{
					TableName: table, Key: attributes{"leaseKey": str("a")},
					UpdateExpression:                    aws.String("SET leaseOwner = :me, leaseCounter = leaseCounter + :one"),
					ConditionExpression:                 aws.String("leaseCounter = :seen"),
					ExpressionAttributeValues:           attributes{":me": str(fmt.Sprint(i)), ":one": num("1"), ":seen": num(fmt.Sprint(round + 1))},
					ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
				})
				if err == nil {
					winners.Add(1)
					return
				}
				failed := wantType[*types.ConditionalCheckFailedException](t, err)
				if failed != nil && failed.Item["leaseOwner"] == nil {
					t.Errorf("the old item is not returned: %v", failed.Item)
				}
			})
		}
		group.Wait()
		if n := winners.Load(); n != 1 {
			t.Errorf("round %d: %d winners", round, n)
		}
	}
}
