// Package localaws is a local AWS for trials, tests and benchmarks: Kinesis,
// DynamoDB, SQS, SNS, S3, Secrets Manager and STS over their wire protocols, for the unmodified AWS SDK,
// in one process and on one loopback port.
//
// It promises what the service promises where Shardline depends on it:
// accounts and roles that are really apart, signatures that are checked,
// temporary credentials that expire, sequence numbers that grow from parent to
// child shard, no put to a closed shard, iterators that expire, the limits per
// shard, conditional writes with one winner, groups of FIFO queues that wait for
// what is in flight, and every refusal with the
// service's own code in the service's own protocol. Nothing is kept: state is
// in memory and ends with the process.
//
// A request is read whole, routed (X-Amz-Target, or the form's Action for
// STS and SNS; S3 is known by what the request is signed for), authenticated, and handed to one operation. Every operation names its
// resource to call.enter before it has an effect: permissions and faults act
// there, and nowhere else; only a granted SubscribeToShard answers by itself, with
// events over its connection. A stream, a table and a queue each have one lock,
// so their operations are atomic.
//
// Set-up is by Go methods, or over HTTP below /_localaws/ for other processes:
//
//	server := localaws.New(localaws.Config{})
//	if err := server.Listen("127.0.0.1:0"); err != nil { … }
//	go server.Serve(ctx) // and wait for it; or httptest.NewServer(server.Handler())
//
//	a, err := server.AddAccount("111111111111")
//	b, err := server.AddAccount("222222222222")
//	arn, err := server.CreateStream(a.AccountID, "eu-west-1", "hotels", 4)
//	role, err := server.AddRole(localaws.Role{
//		Account: a.AccountID,
//		Name:    "shardline-reader",
//		Trust:   localaws.Trust{Principals: []string{b.AccountID}, ExternalID: "secret"},
//	})
//
//	config := aws.Config{
//		Region:       "eu-west-1",
//		BaseEndpoint: aws.String(server.Endpoint()),
//		Credentials:  credentials.NewStaticCredentialsProvider(b.AccessKeyID, b.SecretAccessKey, ""),
//	}
//	// or, for a process: server.Environment(b)
//
//	server.SplitShard(arn, "shardId-000000000000")
//	server.RevokeRole(role)
//	server.DenyActions(role, "kinesis:GetRecords")
//	server.AddFault(localaws.Fault{Operation: "dynamodb.UpdateItem", Kind: localaws.DropAfter, Count: 1})
//	reads := server.Stats().Reads[arn+" shardId-000000000001"]
//
// Over HTTP, with JSON bodies:
//
//	POST   /_localaws/faults        a Fault; answers {"id": 1}
//	DELETE /_localaws/faults[?id=1]
//	GET    /_localaws/stats         DELETE sets the counters to zero
//	POST   /_localaws/split         {"stream": ARN, "shard": ID}
//	POST   /_localaws/merge         {"stream": ARN, "shard": ID, "adjacent_shard": ID}
//	POST   /_localaws/trim          {"stream": ARN, "shard": ID, "sequence_number": N or "LATEST"}
//	POST   /_localaws/delete_stream {"stream": ARN}
//	POST   /_localaws/allow_account {"stream": ARN, "account": ID}
//	POST   /_localaws/revoke_role   {"role": ARN}
//	POST   /_localaws/grant_role    {"role": ARN}
//
// What it has not: CBOR, HTTP/2, secondary indexes, transactions,
// DynamoDB's older parameters (Expected, AttributeUpdates), policies beyond
// patterns of actions and resources, deletion by time to live, the redrive
// policies of queues, subscriptions of a topic but queues, SQS's older query protocol, versions, parts, copies and
// chunked uploads of objects, buckets in the host's name.
package localaws
