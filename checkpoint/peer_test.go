package checkpoint_test

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/checkpoint/storetest"
)

func TestPeerDynamoDBLocal(t *testing.T) { testPeer(t, "SHARDLINE_PEER_DYNAMODB_LOCAL") }
func TestPeerDynalite(t *testing.T)      { testPeer(t, "SHARDLINE_PEER_DYNALITE") }
func TestPeerMoto(t *testing.T)          { testPeer(t, "SHARDLINE_PEER_MOTO") }

// testPeer holds the store on the server of others that the variable names.
func testPeer(t *testing.T, variable string) {
	endpoint := os.Getenv(variable)
	if endpoint == "" {
		t.Skipf("%s is not set: no server that others wrote to test against (make test-peers)", variable)
	}
	client := dynamodb.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
	storetest.Run(t, func(t *testing.T) checkpoint.Store { return openTables(t, client) })
	t.Run("Items", func(t *testing.T) { testItems(t, client) })
	t.Run("ItemsOfKCLWorkers", func(t *testing.T) { testItemsOfKCLWorkers(t, client) })
	t.Run("Foreign", func(t *testing.T) { testForeign(t, client) })
	t.Run("NativeWorkers", func(t *testing.T) { testNativeWorkers(t, client) })
	t.Run("Overflow", func(t *testing.T) { testOverflow(t, client) })
}
