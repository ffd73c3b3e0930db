package config

import "time"

// Config is the whole configuration, as the file has it.
type Config struct {
	// The application's name, as the Kinesis Client Library has it: workers
	// with the same name share the work. It names the lease table (unless
	// leases.table is set) and the state table, `<application>-state`.
	Application string `yaml:"application" required:"true"`
	// Names this process in the lease table; unique per process, at most 128
	// letters, digits, `-`, `_`, `.`, `:`. Empty: the host's name and a random
	// suffix, which is right almost everywhere: a name that two processes
	// share is an error that both report.
	WorkerID string `yaml:"worker_id"`
	// The region of the lease and state tables, and of `sts:AssumeRole`.
	// Streams have the region of their ARN. Empty: what the AWS SDK finds in
	// its own settings (`AWS_REGION`, profile).
	Region string `yaml:"region"`
	// Shardline's own account: who it is before it assumes the roles of its
	// sources. The credentials are those of the AWS SDK's default chain.
	AWS AWS `yaml:"aws"`
	// Which worker reads which shard, and from where: the lease table.
	Leases Leases `yaml:"leases"`
	// The streams to read; at least one.
	Sources []Source `yaml:"sources" required:"true"`
	// The memory and the end of a worker.
	Pipeline Pipeline `yaml:"pipeline"`
	// The defaults of every destination; a destination overrides each field by
	// naming it itself, also the fields of `retry` one by one.
	Delivery Delivery `yaml:"delivery"`
	// The receivers.
	Destinations []Destination `yaml:"destinations"`
	// Files with one destination each (its fields at the top level), as globs
	// relative to this file's folder: a hundred partners are a hundred small
	// files. They are added to `destinations` in the order of their names. A
	// pattern that matches no file is a problem.
	DestinationsFiles []string `yaml:"destinations_files"`
	// Where records go that nobody can deliver, read or key.
	DeadLetterQueues []DeadLetterQueue `yaml:"dead_letter_queues"`
	// Views of overall equipment effectiveness. They are computed offline so far,
	// by `shardline oee replay`; `shardline run` refuses a file that has any.
	Views []View `yaml:"views"`
	// The addresses that the worker listens on.
	Listen Listen `yaml:"listen"`
	// The log, on standard error.
	Log Log `yaml:"log"`

	warnings Problems
}

// Warnings is what may be meant, and deserves a look.
func (c *Config) Warnings() Problems { return c.warnings }

// AWS is how Shardline reaches its own account.
type AWS struct {
	// A profile of the AWS SDK's shared configuration files. Empty: the
	// default chain (environment, `AWS_PROFILE`, container, instance).
	Profile string `yaml:"profile"`
	// A base role, assumed first: with it Shardline reaches its tables and
	// assumes the roles of its sources, which then last an hour at most.
	Role *Role `yaml:"role"`
}

// Role is an IAM role to assume; its credentials are refreshed ahead of
// their expiry, in the background, with jitter.
type Role struct {
	// The role: `arn:aws:iam::ACCOUNT:role/NAME`.
	ARN string `yaml:"arn" required:"true"`
	// The external id that the role's trust policy asks for, 2 to 1224
	// characters. Empty: none is sent.
	ExternalID string `yaml:"external_id"`
	// The session's name in the other account's CloudTrail, 2 to 64
	// characters. Empty: the application's name, cut to 64.
	SessionName string `yaml:"session_name"`
	// How long the credentials last: 15m to 12h, as the role allows; 1h at
	// most for a role that is assumed with a role's credentials (chaining).
	// Longer rides out a longer failure of STS; shorter notices a withdrawn
	// role sooner.
	Duration time.Duration `yaml:"duration"`
}

// Leases is where leases and positions live.
type Leases struct {
	// `dynamodb`: two tables in Shardline's own account. `memory`: one
	// process, nothing kept, every start is a first start: for trials.
	Store string `yaml:"store" enum:"dynamodb,memory"`
	// The lease table, in the format of the Kinesis Client Library. Empty: the
	// application's name.
	Table string `yaml:"table"`
	// The shape of lease keys: `multi_stream` (account:stream:epoch:shardId)
	// or `single_stream` (shardId; exactly one source). A table with keys of
	// the other shape is refused at the start.
	KeyFormat string `yaml:"key_format" enum:"multi_stream,single_stream"`
	// Workers of the Kinesis Client Library (2.x, or 3.x in a mode that is
	// compatible with 2.x) live on this table too, for the time of a migration:
	// leases are shared and balanced with them. They serve nobody who is
	// behind a checkpoint, so the checkpoint is that of the slowest destination
	// at all times: more is delivered again after a stop, a new destination
	// begins at the checkpoint whatever its `initial_position`, and one that is
	// no longer configured is forgotten. Both sides need the same fail-over
	// time, initial position and key format. With false, a KCL worker that
	// renews a lease is an alarm.
	SharedWithKCL bool `yaml:"shared_with_kcl"`
	// A lease that was not renewed for this long may be taken by another
	// worker. Leases are renewed, and positions saved with them, every third
	// of it; the lease table is scanned about every tenth. Shorter moves the
	// shards of a dead worker sooner, repeats less after a crash, and reads and
	// writes the table more often. At least 1s: below that an ordinary pause of
	// the network or of the process costs leases.
	Failover time.Duration `yaml:"failover"`
	// The most leases (shards) that this worker takes. 0: no limit. A limit
	// below shards ÷ workers leaves shards unread.
	MaxLeases int `yaml:"max_leases"`
	// Create missing tables, with on-demand billing. With false a missing
	// table is an error at the start, and the worker needs no right to create
	// one.
	CreateTables bool `yaml:"create_tables"`
}

// Pipeline is the way of a record through a worker.
type Pipeline struct {
	// The bytes of records that one worker holds in memory, shared by its
	// shards; at least 1MiB. More lets fast destinations run further ahead of
	// slow ones; after a crash at most this much is repeated.
	Window Size `yaml:"window"`
	// How long a stop (SIGTERM) waits for attempts in flight before it saves
	// positions and releases leases. Keep the supervisor's own limit above it:
	// what is cut off is delivered again by the next worker.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// Listen is the addresses that the worker listens on.
type Listen struct {
	// host:port of `/metrics`, `/healthz` and `/readyz`. Set it to
	// `0.0.0.0:9464` where a scraper or health check is on another host.
	// Port 0: the kernel chooses, and the log says which.
	Metrics string `yaml:"metrics"`
	// host:port of `/api/v1`: [the API](api.md). It tells who looks what is
	// ordered of the destinations, with the keys that are held, and takes
	// commands with the token: leave it on the host's own address, or put a
	// proxy in front that knows who asks. Port 0: the kernel chooses, and the
	// log says which. Empty: there is no API. The default address is left to
	// another process that has it, with a warning.
	API string `yaml:"api"`
	// The token that commands through the API need, as
	// `Authorization: Bearer TOKEN`. Without one they are refused, and
	// `shardline destinations` gives them.
	Token Secret `yaml:"token"`
}

// Log is the log, on standard error.
type Log struct {
	// The least level that is written. `info` is the life cycle, `warn` is
	// retrying, `error` is for somebody to act; `debug` adds lines per record.
	Level string `yaml:"level" enum:"debug,info,warn,error"`
	// `json`: one object a line. `console`: for people.
	Format string `yaml:"format" enum:"json,console"`
}

// The values of the enumerations that are in use.
const (
	StoreDynamoDB = "dynamodb"
	StoreMemory   = "memory"

	MultiStream  = "multi_stream"
	SingleStream = "single_stream"

	ReadPolling        = "polling"
	ReadEnhancedFanOut = "enhanced_fan_out"

	OutOfRangeDrop    = "drop"
	OutOfRangeDeliver = "deliver"

	KeyPartitionKey = "partition_key"
	KeyHotelCode    = "hotel_code"
	KeyJSON         = "json:" // and a pointer behind it

	ByMessageID = "message_id"
	ByContent   = "content"

	OnExhaustedDeadLetter      = "dead_letter"
	OnExhaustedHoldKey         = "hold_key"
	OnExhaustedHoldDestination = "hold_destination"

	CompressionNone = "none"
	CompressionGzip = "gzip"

	ResponseStatus     = "status"
	ResponseOpenTravel = "opentravel"

	FormatJSON      = "json"
	FormatDMS       = "dms"
	FormatSiteWise  = "sitewise"
	FormatSparkplug = "sparkplug"

	CounterDelta      = "delta"
	CounterCumulative = "cumulative"

	ReportingOnChange = "on_change"
	ReportingPeriodic = "periodic"

	CountAlways  = "always"
	CountRunning = "running"

	LossRun          = "run"
	LossAvailability = "availability"
	LossPerformance  = "performance"
	LossPlanned      = "planned"

	WindowShift = "shift"
	WindowHour  = "hour"
	WindowDay   = "day"

	LineBottleneck = "bottleneck"
	LinePooled     = "pooled"

	AlertIdle        = "idle"
	AlertStopped     = "stopped"
	AlertNoData      = "no_data"
	AlertBelowTarget = "below_target"

	TypeHTTP    = "http"
	TypeKinesis = "kinesis"
	TypeSQS     = "sqs"
	TypeSNS     = "sns"
	TypeS3      = "s3"
	TypeFile    = "file"

	AuthNone   = "none"
	AuthBasic  = "basic"
	AuthBearer = "bearer"
	AuthHeader = "header"
	AuthOAuth2 = "oauth2"
	AuthWSSE   = "wsse"

	ClientAuthBody = "body"
	AuthMTLS       = "mtls"

	ProtocolAuto  = "auto"
	ProtocolHTTP1 = "http1"
	ProtocolHTTP2 = "http2"
)

// LeaseTable is the name of the lease table.
func (c *Config) LeaseTable() string {
	if c.Leases.Table != "" {
		return c.Leases.Table
	}
	return c.Application
}

// StateTable is the name of the table of desired state, roster names and
// overflow.
func (c *Config) StateTable() string { return c.Application + "-state" }

// Destination is the destination of that name; nil when there is none.
func (c *Config) Destination(name string) *Destination {
	for i := range c.Destinations {
		if c.Destinations[i].Name == name {
			return &c.Destinations[i]
		}
	}
	return nil
}

// source is the source of that name; nil when there is none.
func (c *Config) source(name string) *Source {
	for i := range c.Sources {
		if c.Sources[i].Name == name {
			return &c.Sources[i]
		}
	}
	return nil
}

// viewed says whether a view has the source as its input.
func (c *Config) viewed(source string) bool {
	for i := range c.Views {
		for j := range c.Views[i].Inputs {
			if c.Views[i].Inputs[j].Source == source {
				return true
			}
		}
	}
	return false
}

// DeadLetterQueue is the queue of that name; nil when there is none.
func (c *Config) DeadLetterQueue(name string) *DeadLetterQueue {
	for i := range c.DeadLetterQueues {
		if c.DeadLetterQueues[i].Name == name {
			return &c.DeadLetterQueues[i]
		}
	}
	return nil
}
