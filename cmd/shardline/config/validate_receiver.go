package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	inAWS = []string{TypeKinesis, TypeSQS, TypeSNS, TypeS3}

	// receiverFields are the fields that not every type of destination has.
	receiverFields = []struct {
		name  string
		types []string
		want  func(d *Destination) bool // for these it is required; nil: it is not
	}{
		{"url", []string{TypeHTTP}, nil}, // url says so itself
		{"method", []string{TypeHTTP}, nil},
		{"headers", []string{TypeHTTP}, nil},
		{"auth", []string{TypeHTTP}, nil},
		{"protocol", []string{TypeHTTP}, nil},
		{"tls", []string{TypeHTTP}, nil},
		{"compression", []string{TypeHTTP}, nil},
		{"response", []string{TypeHTTP}, nil},
		{"stream", []string{TypeKinesis}, func(d *Destination) bool { return d.Stream == StreamARN{} }},
		{"key", []string{TypeKinesis}, nil},
		{"aggregate", []string{TypeKinesis}, nil},
		{"queue", []string{TypeSQS}, func(d *Destination) bool { return d.Queue == "" }},
		{"topic", []string{TypeSNS}, func(d *Destination) bool { return d.Topic == "" }},
		{"bucket", []string{TypeS3}, func(d *Destination) bool { return d.Bucket == "" }},
		{"prefix", []string{TypeS3}, nil},
		{"region", []string{TypeSQS, TypeS3}, nil},
		{"path", []string{TypeFile}, func(d *Destination) bool { return d.Path == "" }},
		{"role", inAWS, nil},
		{"linger", inAWS, nil},
	}

	pointerPattern  = regexp.MustCompile(`^(/([^~/]|~[01])*)+$`)
	queueURLPattern = regexp.MustCompile(`^/[0-9]{12}/[a-zA-Z0-9_-]{1,80}(\.fifo)?$`)
	queueHost       = regexp.MustCompile(`^(?:sqs(?:-fips)?\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$`)
	topicPattern    = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,251}(\.fifo)?$`)
	bucketPattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixPattern   = regexp.MustCompile(`^[\x21-\x7e]{0,512}$`)
)

// receiver checks what a destination's type decides.
func (l *loading) receiver(c *Config, path string, d *Destination) {
	for _, f := range receiverFields {
		at := path + "." + f.name
		switch has := slices.Contains(f.types, d.Type); {
		case !has && l.names(at) && !l.empty(at):
			l.addf(at, "it does not belong to type: %s, but to %s", d.Type, strings.Join(f.types, ", "))
		case has && f.want != nil && f.want(d) && !l.reportedBelow(at):
			l.addf(at, "it is required with type: %s", d.Type)
		}
	}
	switch d.Type {
	case TypeHTTP:
		l.url(path+".url", d.URL)
		l.headers(path, d)
		l.auth(path+".auth", &d.Auth)
		l.tls(path, d)
	case TypeKinesis:
		l.key(path+".key", d.Key)
		for i := range c.Sources {
			if c.Sources[i].Stream == d.Stream && c.reaches(d.Stream, d.Name) {
				l.addf(path+".stream", "records would go round for ever: it is the stream of a source (%s) that feeds this destination", l.where(fmt.Sprintf("sources[%d]", i), path))
			}
		}
	case TypeSQS:
		l.fifoQueue(c, path, d)
	case TypeSNS:
		l.topic(path+".topic", d.Topic)
	case TypeS3:
		l.bucket(c, path, d)
	case TypeFile:
		l.file(c, path, d)
	}
	if d.Role != nil && slices.Contains(inAWS, d.Type) {
		most := 12 * time.Hour
		if c.AWS.Role != nil {
			most = time.Hour
		}
		l.role(path+".role", d.Role, most)
	}
	if at := path + ".linger"; l.names(at) && (d.Linger < time.Millisecond || d.Linger > time.Minute) {
		l.addf(at, "%s is not allowed; allowed: 1ms to 1m", l.found(at))
	} else if d.Linger > d.Timeout/2 && d.Timeout > 0 && slices.Contains(inAWS, d.Type) {
		if !l.names(at) {
			at = path + ".timeout"
		}
		l.addf(at, "records linger for more than half of the time that an attempt has: lower linger, or raise timeout")
	}
}

// reaches says whether records of a stream come to a destination, directly or
// by way of other streams.
func (c *Config) reaches(from StreamARN, destination string) bool {
	seen := map[StreamARN]bool{{}: true} // what is no stream leads nowhere
	next := []StreamARN{from}
	for len(next) > 0 {
		stream := next[0]
		next = next[1:]
		if seen[stream] {
			continue
		}
		seen[stream] = true
		for i := range c.Sources {
			if c.Sources[i].Stream != stream {
				continue
			}
			for _, name := range c.Sources[i].SubscriberNames(c) {
				if name == destination {
					return true
				}
				if d := c.Destination(name); d != nil && d.Type == TypeKinesis {
					next = append(next, d.Stream)
				}
			}
		}
	}
	return false
}

// empty says whether nothing, or an empty text, stands at path.
func (l *loading) empty(path string) bool {
	n := l.places[path].n
	return n.kind == nullNode || n.kind == scalarNode && n.text == ""
}

// key checks what makes a record's key.
func (l *loading) key(path, key string) {
	if pointer, isJSON := strings.CutPrefix(key, KeyJSON); isJSON && !pointerPattern.MatchString(pointer) {
		l.addf(path, "%s is not a JSON pointer; allowed: those such as json:/machine/id, with ~0 for ~ and ~1 for / in a name", l.found(path))
	}
}

// keyShown is a key as a message may show it.
func (l *loading) keyShown(path string) string { return strings.Trim(l.found(path), `"`) }

func (l *loading) fifoQueue(c *Config, path string, d *Destination) {
	at := path + ".queue"
	u, err := url.Parse(d.Queue)
	switch {
	case d.Queue == "":
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || !queueURLPattern.MatchString(u.Path):
		l.addf(at, "%s is not a queue's URL, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.fifo", l.found(at))
	case !strings.HasSuffix(u.Path, ".fifo"):
		l.addf(at, "%s is no FIFO queue, whose name ends in .fifo: a standard queue keeps no order", l.found(at))
	case d.QueueRegion(c) == "":
		l.addf(path+".region", "the queue's URL does not tell its region: set it here, or for the whole file")
	}
	l.region(path+".region", d.Region)
}

// QueueRegion is the region of the queue; empty: nobody says.
func (d *Destination) QueueRegion(c *Config) string {
	if d.Region != "" {
		return d.Region
	}
	if u, err := url.Parse(d.Queue); err == nil {
		if found := queueHost.FindStringSubmatch(u.Hostname()); found != nil {
			return found[1] + found[2]
		}
	}
	return c.Region
}

// BucketRegion is the region of the bucket; empty: nobody says.
func (d *Destination) BucketRegion(c *Config) string {
	if d.Region != "" {
		return d.Region
	}
	return c.Region
}

// TopicRegion is the region of the topic.
func (d *Destination) TopicRegion() string {
	parts, _ := splitARN(d.Topic, "sns")
	return parts[2]
}

func (l *loading) region(path, region string) {
	if region != "" && !regionPattern.MatchString(region) {
		l.addf(path, "%s is not a region such as eu-west-1", l.found(path))
	}
}

func (l *loading) topic(path, topic string) {
	if topic == "" {
		return
	}
	parts, wrong := splitARN(topic, "sns")
	switch {
	case wrong != "":
	case !regionPattern.MatchString(parts[2]):
		wrong = "the region is not one such as eu-west-1"
	case !topicPattern.MatchString(parts[4]):
		wrong = "the topic's name is not 1 to 256 letters, digits, _ -"
	}
	if wrong != "" {
		l.addf(path, "%s is not a topic's ARN (arn:aws:sns:REGION:ACCOUNT:NAME): %s", l.found(path), wrong)
	}
}

func (l *loading) bucket(c *Config, path string, d *Destination) {
	at := path + ".bucket"
	switch {
	case d.Bucket == "":
	case !bucketPattern.MatchString(d.Bucket):
		l.addf(at, "%s is not a bucket's name: 3 to 63 lower-case letters, digits, . -", l.found(at))
	case d.BucketRegion(c) == "":
		l.addf(path+".region", "the bucket's region is not known: set it here, or for the whole file")
	}
	if at := path + ".prefix"; !prefixPattern.MatchString(d.Prefix) || strings.HasPrefix(d.Prefix, "/") {
		l.addf(at, "%s is not allowed; allowed: at most 512 visible characters, the first no slash", l.found(at))
	}
	l.region(path+".region", d.Region)
}

// file sees to it that each file has one writer of one kind in this file.
func (l *loading) file(c *Config, path string, d *Destination) {
	for i := range c.Destinations {
		if other := &c.Destinations[i]; other == d {
			break
		} else if other.Type == TypeFile && other.Path == d.Path && d.Path != "" {
			l.addf(path+".path", "the same file as %s: each destination has its own", l.where(fmt.Sprintf("destinations[%d]", i), path))
		}
	}
	for i := range c.DeadLetterQueues {
		if q := &c.DeadLetterQueues[i]; q.Path == d.Path && d.Path != "" {
			l.addf(path+".path", "the same file as the dead letters of %s: each has its own", l.where(fmt.Sprintf("dead_letter_queues[%d]", i), path))
		}
	}
}
