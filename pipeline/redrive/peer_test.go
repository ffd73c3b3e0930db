package redrive_test

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
)

func TestPeerMoto(t *testing.T) {
	testPeer(t, "SHARDLINE_PEER_MOTO", true, "sqs", "sqs fifo", "sqs of small messages", "s3", "kinesis")
}

func TestPeerElasticMQ(t *testing.T) {
	testPeer(t, "SHARDLINE_PEER_ELASTICMQ", false, "sqs", "sqs fifo")
}

// testPeer holds queues on the server of others that the variable names.
func testPeer(t *testing.T, variable string, objects bool, kinds ...string) {
	endpoint := os.Getenv(variable)
	if endpoint == "" {
		t.Skipf("%s is not set: no server that others wrote to test against (make test-peers)", variable)
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			testQueue(t, newCloudAt(t, nil, endpoint, credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""), objects), kind)
		})
	}
}
