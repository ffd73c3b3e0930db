package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// The accounts of the demo: two with a stream each, the third with the
// workers and the tables.
const (
	hotelsAccount  = "111111111111"
	resortsAccount = "222222222222"
	tablesAccount  = "333333333333"

	region      = "eu-west-1"
	externalID  = "demo"
	application = "ota-fanout"
	shardsEach  = 2
)

// cloud is the local AWS with what the demo needs in it.
type cloud struct {
	*localaws.Server
	streams     []string // ARNs
	readers     []string // the role that may read each
	producers   []string // the role that may put to each
	environment []string // the tables account's credentials, as the SDK reads them
}

// newCloud listens on a port of the kernel's choice.
func newCloud() (*cloud, error) {
	c := &cloud{Server: localaws.New(localaws.Config{Region: region})}
	if err := c.Listen("127.0.0.1:0"); err != nil {
		return nil, err
	}
	own, err := c.AddAccount(tablesAccount)
	if err != nil {
		return nil, err
	}
	for _, s := range []struct{ account, name string }{{hotelsAccount, "hotels"}, {resortsAccount, "resorts"}} {
		if _, err := c.AddAccount(s.account); err != nil {
			return nil, err
		}
		arn, err := c.CreateStream(s.account, region, s.name, shardsEach)
		if err != nil {
			return nil, err
		}
		trust := localaws.Trust{Principals: []string{tablesAccount}, ExternalID: externalID}
		reader, err := c.AddRole(localaws.Role{Account: s.account, Name: "shardline-reader", Trust: trust,
			Permissions: []localaws.Permission{{Resources: []string{arn}, Actions: []string{
				"kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"}}}})
		if err != nil {
			return nil, err
		}
		producer, err := c.AddRole(localaws.Role{Account: s.account, Name: "shardline-producer", Trust: trust,
			Permissions: []localaws.Permission{{Resources: []string{arn}, Actions: []string{"kinesis:PutRecords"}}}})
		if err != nil {
			return nil, err
		}
		c.streams, c.readers, c.producers = append(c.streams, arn), append(c.readers, reader), append(c.producers, producer)
	}
	c.environment = c.Environment(own)
	return c, nil
}

// serve runs until stop is called, which waits for it.
func (c *cloud) serve(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx) }()
	return func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			return fmt.Errorf("the local AWS did not stop within 10 s")
		}
	}
}
