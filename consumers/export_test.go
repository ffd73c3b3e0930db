package consumers

import (
	"errors"
	"math/big"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/shardline/shardline/checkpoint"
)

// Deaggregate returns the user records of an aggregated record's data, and
// whether all of them belong to a shard; an error: it is none.
func Deaggregate(data []byte, shard checkpoint.Shard) (records []UserRecord, within bool, err error) {
	if !looksAggregated(data) {
		return nil, false, errors.New("no magic")
	}
	a, err := openAggregate(data)
	if err != nil {
		return nil, false, err
	}
	within = a.within(rangeOf(shard))
	for a.open() {
		u := a.take()
		r := UserRecord{PartitionKey: a.keys[u.key], Data: u.data}
		if u.hashKey > 0 {
			r.ExplicitHashKey = a.hashKeys[u.hashKey-1].big().String()
		}
		records = append(records, r)
	}
	return records, within, nil
}

// ParseHashKey reads a hash key and writes it again.
func ParseHashKey(s string) (string, bool) {
	h, ok := parseHashKey(s)
	return h.big().String(), ok
}

// HashOf is a partition key's hash key in decimal.
func HashOf(partitionKey string) string { return hashOf(partitionKey).big().String() }

func (h hashKey) big() *big.Int {
	n := new(big.Int).SetUint64(h.high)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(h.low))
}

// TransportOf is the HTTP transport below a base configuration.
func TransportOf(base aws.Config) *http.Transport {
	return base.HTTPClient.(plainBody).client.(*awshttp.BuildableClient).GetTransport()
}
