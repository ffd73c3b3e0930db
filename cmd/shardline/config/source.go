package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Source is a stream, how to reach it, and who gets its records.
type Source struct {
	// The name in logs, metrics and URL templates: letters, digits, `-`, `_`,
	// `.`; at most 64; unique among sources; not `base` or `base_role`, which
	// are Shardline's own credentials in metrics.
	Name string `yaml:"name" required:"true"`
	// The stream: `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`. A stream
	// belongs to one source only.
	Stream StreamARN `yaml:"stream" required:"true"`
	// The role to read it with, usually in the stream's account. Without one
	// Shardline's own credentials are used.
	Role *Role `yaml:"role"`
	// Where to begin with a shard that has no checkpoint yet: `trim_horizon`
	// (everything that the stream still holds), `latest` (what arrives from
	// now on), or an RFC 3339 time (`trim_horizon` when the stream keeps nothing
	// of it any more). It has no default, since a wrong guess either floods the
	// receivers or skips records.
	InitialPosition InitialPosition `yaml:"initial_position" required:"true"`
	// How shards are read. `polling`: GetRecords; a shard's five reads and 2 MB
	// a second are shared with its other consumers. `enhanced_fan_out`: the
	// service pushes records, with 2 MB a second and shard that nobody shares,
	// within some 70 ms, for a charge per shard-hour and GB. While no stream
	// consumer is to be had it is read by polling.
	Read string `yaml:"read" enum:"polling,enhanced_fan_out"`
	// The pause after a read that reached the tip of a shard; 200ms to 4m.
	// Shorter adds less latency; a shard answers five reads a second to all
	// its consumers together. With `enhanced_fan_out` it counts while that is
	// not to be had.
	PollInterval time.Duration `yaml:"poll_interval"`
	// What becomes of an aggregated record (of the Kinesis Producer Library)
	// that holds a user record with a hash key of another shard. `drop`: none of
	// it is delivered, as with the Kinesis Client Library: around a split or
	// merge that library's producers send such records again. `deliver`: all of
	// it, for producers that aggregate without regard to shards and send nothing
	// again.
	OutOfRange string `yaml:"out_of_range" enum:"drop,deliver"`
	// The name of the stream consumer for enhanced fan-out: letters, digits,
	// `_`, `.`, `-`; at most 128. Empty: the application's name. It is registered
	// when it does not exist, never deregistered, and must be no other
	// application's: two with one name take each other's records away.
	ConsumerName string `yaml:"consumer_name"`
	// What keeps records in order: records with the same key are delivered
	// one after another. `partition_key`: the record's partition key.
	// `hotel_code`: the hotel code in the OpenTravel message. `json:/…`: the text
	// or number at that JSON pointer, such as `json:/machine/id`. A record with
	// none, or several, takes its partition key; one that is no XML, or no JSON,
	// goes to the dead letters.
	Key string `yaml:"key" enum:"partition_key,hotel_code,json:/…"`
	// Delivers what a producer sends twice once. Without it, every record is
	// delivered. See [Producer duplicates](delivery.md#producer-duplicates).
	Deduplicate *Deduplicate `yaml:"deduplicate"`
	// The destinations that get every record of this source: a list of names,
	// or `all_destinations`, which are also those that views publish to. Views
	// subscribe by their inputs; without one it is required.
	Subscribers Subscribers `yaml:"subscribers"`
	// The dead letter queue for records that cannot be read or keyed: once for
	// the source, not per subscriber. Required unless `key` is `partition_key`.
	DeadLetters string `yaml:"dead_letters"`
}

// Deduplicate is what a producer sends twice: records of one shard with one key.
type Deduplicate struct {
	// What is the same in both. `content`: the whole body, byte for byte.
	// `message_id`: the MessageID of the SOAP header (WS-Addressing), else the
	// EchoToken of the OpenTravel message, for messages of one type: only where
	// producers give every message its own, since those that share one are taken
	// for one. `json:/…`: the text or number at that JSON pointer, likewise. A
	// record without one is delivered.
	By string `yaml:"by" required:"true" enum:"message_id,content,json:/…"`
	// How much later, by the stream's clock, a record counts as sent twice; 1s to
	// 24h. It costs memory: 262,144 records of a source are remembered on a
	// worker at most, some 50 MB.
	Window time.Duration `yaml:"window"`
}

// SubscriberNames is the names of the destinations that get the records of
// s, in the order of the configuration.
func (s *Source) SubscriberNames(c *Config) []string {
	if !s.Subscribers.All {
		return append([]string(nil), s.Subscribers.Names...)
	}
	names := make([]string, len(c.Destinations))
	for i := range c.Destinations {
		names[i] = c.Destinations[i].Name
	}
	return names
}

// Consumer is the name of the stream consumer that s is read as; empty: it is
// read by polling.
func (s *Source) Consumer(c *Config) string {
	switch {
	case s.Read != ReadEnhancedFanOut:
		return ""
	case s.ConsumerName != "":
		return s.ConsumerName
	}
	return c.Application
}

// Subscribers is a list of names, or all destinations.
type Subscribers struct {
	All   bool
	Names []string
}

const allDestinations = "all_destinations"

// String is `all_destinations` or the names, with commas.
func (s Subscribers) String() string {
	if s.All {
		return allDestinations
	}
	return strings.Join(s.Names, ", ")
}

func (s *Subscribers) decode(d *decoder, n *node, path string) {
	const allowed = "a list of destination names, or " + allDestinations
	switch n.kind {
	case scalarNode:
		if n.text != allDestinations {
			d.addf(n, path, "%s is not allowed; allowed: %s%s", n.found(), allowed, d.suggest(n, []string{allDestinations}))
			return
		}
		s.All = true
	case sequenceNode:
		d.value(n, path, &s.Names)
	default:
		d.addf(n, path, "%s is not allowed; allowed: %s", n.found(), allowed)
	}
}

// InitialPosition is where to begin: the zero value says nothing.
type InitialPosition struct {
	// Kind is trim_horizon, latest or at_timestamp.
	Kind string
	// At is the time of at_timestamp.
	At time.Time
}

// The kinds of an initial position.
const (
	PositionTrimHorizon = "trim_horizon"
	PositionLatest      = "latest"
	PositionAtTimestamp = "at_timestamp"
)

// String is as the file has it.
func (p InitialPosition) String() string {
	if p.Kind == PositionAtTimestamp {
		return p.At.Format(time.RFC3339Nano)
	}
	return p.Kind
}

func (p *InitialPosition) decode(d *decoder, n *node, path string) {
	const allowed = "trim_horizon, latest, or an RFC 3339 time such as 2026-03-01T06:00:00Z"
	if n.kind == scalarNode {
		switch n.text {
		case PositionTrimHorizon, PositionLatest:
			p.Kind = n.text
			return
		}
		if t, err := time.Parse(time.RFC3339Nano, n.text); err == nil {
			if t.Year() < 2013 || t.Year() > 2262 {
				d.addf(n, path, "%s is not a time that a stream can hold; allowed: %s", n.found(), allowed)
				return
			}
			p.Kind, p.At = PositionAtTimestamp, t
			return
		}
	}
	d.addf(n, path, "%s is not allowed; allowed: %s%s", n.found(), allowed,
		d.suggest(n, []string{PositionTrimHorizon, PositionLatest}))
}

// StreamARN is the parts of arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME.
type StreamARN struct {
	Partition, Region, Account, Name string
}

// String is the ARN; empty for the zero value.
func (a StreamARN) String() string {
	if a == (StreamARN{}) {
		return ""
	}
	return fmt.Sprintf("arn:%s:kinesis:%s:%s:stream/%s", a.Partition, a.Region, a.Account, a.Name)
}

var (
	partitionPattern  = regexp.MustCompile(`^aws(-[a-z]+)*$`)
	regionPattern     = regexp.MustCompile(`^[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}$`)
	accountPattern    = regexp.MustCompile(`^[0-9]{12}$`)
	streamNamePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)
	roleNamePattern   = regexp.MustCompile(`^role/([\x21-\x7e]{1,510}/)?[\w+=,.@-]{1,64}$`)
)

// splitARN is the five parts after "arn:", or what is wrong with the ARN.
func splitARN(text, service string) (parts [5]string, wrong string) {
	fields := strings.SplitN(text, ":", 6)
	if len(fields) != 6 || fields[0] != "arn" {
		return parts, "it is not of the form arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE"
	}
	copy(parts[:], fields[1:])
	switch {
	case !partitionPattern.MatchString(parts[0]):
		return parts, "the partition is not aws, aws-cn, aws-us-gov or the like"
	case parts[1] != service:
		return parts, "the service is not " + service
	case !accountPattern.MatchString(parts[3]):
		return parts, "the account is not 12 digits"
	}
	return parts, ""
}

func (a *StreamARN) decode(d *decoder, n *node, path string) {
	const form = "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"
	if n.kind != scalarNode {
		d.addf(n, path, "%s is not allowed; allowed: a stream's ARN, %s", n.found(), form)
		return
	}
	parts, wrong := splitARN(n.text, "kinesis")
	name, isStream := strings.CutPrefix(parts[4], "stream/")
	switch {
	case wrong != "":
	case !regionPattern.MatchString(parts[2]):
		wrong = "the region is not one such as eu-west-1"
	case !isStream:
		wrong = "the resource is not stream/NAME"
	case !streamNamePattern.MatchString(name):
		wrong = "the stream's name is not 1 to 128 letters, digits, _ . -"
	}
	if wrong != "" {
		d.addf(n, path, "%s is not a stream's ARN (%s): %s", n.found(), form, wrong)
		return
	}
	*a = StreamARN{Partition: parts[0], Region: parts[2], Account: parts[3], Name: name}
}
