package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/daemon"
	"github.com/shardline/shardline/internal/localaws"
)

const (
	cloudAccount     = "111111111111"
	cloudRegion      = "eu-west-1"
	cloudApplication = "bench"
	streamName       = "hotels" // and of its source
)

// cloud is a local AWS in this process with a stream, and what real worker
// processes need to use it.
type cloud struct {
	aws         *localaws.Server
	arn         string // of the stream
	store       checkpoint.Store
	environment []string
}

// newCloud serves a local AWS until stop is called, which waits for it.
func newCloud(ctx context.Context, config localaws.Config, shards int) (c *cloud, stop func() error, err error) {
	config.Region = cloudRegion
	c = &cloud{aws: localaws.New(config)}
	own, err := c.aws.AddAccount(cloudAccount)
	if err != nil {
		return nil, nil, err
	}
	if c.arn, err = c.aws.CreateStream(cloudAccount, cloudRegion, streamName, shards); err != nil {
		return nil, nil, err
	}
	if err := c.aws.Listen("127.0.0.1:0"); err != nil {
		return nil, nil, err
	}
	c.environment = c.aws.Environment(own)
	client := dynamodb.New(dynamodb.Options{Region: cloudRegion, BaseEndpoint: aws.String(c.aws.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, own.SessionToken)})
	c.store = checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: client, Table: cloudApplication,
		StateTable: cloudApplication + "-state", Format: checkpoint.MultiStream})
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- c.aws.Serve(ctx) }()
	return c, func() error {
		cancel()
		return <-served
	}, nil
}

// worker is a process that runs Shardline, and where its metrics are.
type worker struct {
	*daemon.Process
	metrics string // URL
}

// start starts a worker with a configuration file that names its id and its
// metrics' address ${BENCH_WORKER} and ${BENCH_METRICS}.
func (c *cloud) start(executable, dir, name, config string) (*worker, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := daemon.Start(executable, dir, name, config, append(slices.Clone(c.environment), "BENCH_WORKER="+name, "BENCH_METRICS="+address))
	if err != nil {
		return nil, err
	}
	return &worker{p, "http://" + address + "/metrics"}, nil
}

// writeConfig writes a worker's file: what every benchmark's has, and its own.
func (c *cloud) writeConfig(dir, name, rest string) (path string, err error) {
	text := fmt.Sprintf(`application: %s
worker_id: ${BENCH_WORKER}
region: %s
listen: {metrics: "${BENCH_METRICS}", api: ""}
`, cloudApplication, cloudRegion) + rest
	path = filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// reads is how often each shard was read, by its id.
func (c *cloud) reads() map[string]int64 {
	reads := make(map[string]int64)
	for key, n := range c.aws.Stats().Reads {
		if shard, ok := strings.CutPrefix(key, c.arn+" "); ok {
			reads[shard] = n
		}
	}
	return reads
}

// freeAddress is a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
