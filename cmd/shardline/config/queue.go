package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// DeadLetterQueue is where records go that nobody can deliver, read or key: a
// record counts as done when its letter is durable there. Each type has its own
// fields; another's field is a problem.
type DeadLetterQueue struct {
	// The name that `dead_letters` fields refer to: letters, digits, `-`, `_`,
	// `.`; at most 64; unique among queues.
	Name string `yaml:"name" required:"true"`
	// `sqs`: a message each, in a standard or FIFO queue. `kinesis`: a record
	// each, under the record's key. `s3`: objects of JSON lines, by destination
	// and date. `file`: JSON lines in a local file, synced.
	Type string `yaml:"type" required:"true" enum:"sqs,kinesis,s3,file" selects:"true"`
	// The URL of the queue of `sqs`,
	// `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`. In a FIFO queue, whose
	// name ends in `.fifo`, a destination's key is a message group, which is
	// redriven in order whatever the number of letters.
	Queue string `yaml:"queue"`
	// The stream of `kinesis`: `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`, no
	// source's. Letters live as long as the stream keeps its records.
	Stream StreamARN `yaml:"stream"`
	// The bucket of `s3`.
	Bucket string `yaml:"bucket"`
	// What the keys of the objects of `s3` begin with, as it is, such as
	// `dead-letters/`.
	Prefix string `yaml:"prefix"`
	// The region of the queue of `sqs` or the bucket of `s3`. Empty: the one in
	// the queue's URL, or the configuration's.
	Region string `yaml:"region"`
	// The role to call AWS with, usually in the account of the queue, stream or
	// bucket. Without one Shardline's own credentials are used.
	Role *Role `yaml:"role"`
	// Where `sqs` and `kinesis` put the data of records that are too large for
	// them, an object each. Without it such a letter names the record's
	// position, and the data can be had while the source's stream keeps it.
	S3 *Overflow `yaml:"s3"`
	// The file of `file`, created when missing, in a folder that exists. A
	// relative path is relative to the configuration file's folder. It should
	// be on storage that outlives the worker.
	Path string `yaml:"path"`
}

// Overflow is a bucket for what is too large for a dead letter queue.
type Overflow struct {
	// The bucket, reached as the queue is: with its role.
	Bucket string `yaml:"bucket" required:"true"`
	// What the objects' keys begin with, as it is.
	Prefix string `yaml:"prefix"`
	// The bucket's region. Empty: the queue's or stream's.
	Region string `yaml:"region"`
}

var inQueue = []string{TypeSQS, TypeKinesis, TypeS3}

// queueFields are the fields that not every type of dead letter queue has.
var queueFields = []struct {
	name  string
	types []string
	want  func(q *DeadLetterQueue) bool // for these it is required; nil: it is not
}{
	{"queue", []string{TypeSQS}, func(q *DeadLetterQueue) bool { return q.Queue == "" }},
	{"stream", []string{TypeKinesis}, func(q *DeadLetterQueue) bool { return q.Stream == StreamARN{} }},
	{"bucket", []string{TypeS3}, func(q *DeadLetterQueue) bool { return q.Bucket == "" }},
	{"prefix", []string{TypeS3}, nil},
	{"region", []string{TypeSQS, TypeS3}, nil},
	{"role", inQueue, nil},
	{"s3", []string{TypeSQS, TypeKinesis}, nil},
	{"path", []string{TypeFile}, func(q *DeadLetterQueue) bool { return q.Path == "" }},
}

// queues checks the dead letter queues.
func (l *loading) queues(c *Config) {
	names, taken := map[string]string{}, map[string]string{}
	for i := range c.DeadLetterQueues {
		q, path := &c.DeadLetterQueues[i], fmt.Sprintf("dead_letter_queues[%d]", i)
		l.name(path+".name", q.Name, names)
		for _, f := range queueFields {
			at := path + "." + f.name
			switch has := slices.Contains(f.types, q.Type); {
			case !has && l.names(at) && !l.empty(at):
				l.addf(at, "it does not belong to type: %s, but to %s", q.Type, strings.Join(f.types, ", "))
			case has && f.want != nil && f.want(q) && !l.reported[at] && !l.reportedBelow(at):
				l.addf(at, "it is required with type: %s", q.Type)
			}
		}
		at, place := "", "" // what no other queue may be
		switch q.Type {
		case TypeSQS:
			l.queueURL(c, path, q)
			at, place = path+".queue", q.Queue
		case TypeKinesis:
			l.letterStream(c, path, q)
			at, place = path+".stream", q.Stream.String()
		case TypeS3:
			l.objects(path, q.Bucket, q.Prefix, q.BucketRegion(c))
			if q.Bucket != "" {
				at, place = path+".bucket", q.Bucket+"/"+q.Prefix
			}
		case TypeFile:
			at, place = path+".path", q.Path
		}
		switch other := taken[q.Type+" "+place]; {
		case place == "":
		case other != "" && q.Type == TypeFile:
			l.addf(at, "the same file as %s: each queue has its own", l.where(other, path))
		case other != "":
			l.addf(at, "the same as %s: each queue has its own", l.where(other, path))
		default:
			taken[q.Type+" "+place] = path
		}
		if l.names(path + ".region") {
			l.region(path+".region", q.Region)
		}
		if q.Role != nil && q.Type != TypeFile {
			most := 12 * time.Hour
			if c.AWS.Role != nil {
				most = time.Hour
			}
			l.role(path+".role", q.Role, most)
		}
		if q.S3 != nil && q.Type != TypeS3 && q.Type != TypeFile {
			l.objects(path+".s3", q.S3.Bucket, q.S3.Prefix, q.OverflowRegion(c))
			l.region(path+".s3.region", q.S3.Region)
		}
	}
}

func (l *loading) queueURL(c *Config, path string, q *DeadLetterQueue) {
	at := path + ".queue"
	u, err := url.Parse(q.Queue)
	switch {
	case q.Queue == "":
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || !queueURLPattern.MatchString(u.Path):
		l.addf(at, "%s is not a queue's URL, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME", l.found(at))
	case q.QueueRegion(c) == "":
		l.addf(path+".region", "the queue's URL does not tell its region: set it here, or for the whole file")
	}
}

// letterStream sees to it that letters are nobody's records.
func (l *loading) letterStream(c *Config, path string, q *DeadLetterQueue) {
	for i := range c.Sources {
		if c.Sources[i].Stream == q.Stream && q.Stream != (StreamARN{}) {
			l.addf(path+".stream", "it is the stream of %s: its letters would be delivered as records", l.where(fmt.Sprintf("sources[%d]", i), path))
		}
	}
	for i := range c.Destinations {
		if d := &c.Destinations[i]; d.Type == TypeKinesis && d.Stream == q.Stream && q.Stream != (StreamARN{}) {
			l.addf(path+".stream", "it is the stream of %s: letters would lie between its records", l.where(fmt.Sprintf("destinations[%d]", i), path))
		}
	}
}

// objects checks where objects go.
func (l *loading) objects(path, bucket, prefix, region string) {
	at := path + ".bucket"
	switch {
	case bucket == "":
	case !bucketPattern.MatchString(bucket):
		l.addf(at, "%s is not a bucket's name: 3 to 63 lower-case letters, digits, . -", l.found(at))
	case region == "":
		l.addf(path+".region", "the bucket's region is not known: set it here, or for the whole file")
	}
	if at := path + ".prefix"; !prefixPattern.MatchString(prefix) || strings.HasPrefix(prefix, "/") {
		l.addf(at, "%s is not allowed; allowed: at most 512 visible characters, the first no slash", l.found(at))
	}
}

// QueueRegion is the region of the queue; empty: nobody says.
func (q *DeadLetterQueue) QueueRegion(c *Config) string {
	return (&Destination{Region: q.Region, Queue: q.Queue}).QueueRegion(c)
}

// BucketRegion is the region of the bucket; empty: nobody says.
func (q *DeadLetterQueue) BucketRegion(c *Config) string {
	if q.Region != "" {
		return q.Region
	}
	return c.Region
}

// OverflowRegion is the region of the bucket for what is too large; empty:
// nobody says.
func (q *DeadLetterQueue) OverflowRegion(c *Config) string {
	switch {
	case q.S3.Region != "":
		return q.S3.Region
	case q.Type == TypeKinesis:
		return q.Stream.Region
	}
	return q.QueueRegion(c)
}
