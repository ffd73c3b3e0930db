package config

import "time"

// Default is the configuration before a file is read. What this version does
// not implement is off.
func Default() *Config {
	return &Config{
		Leases: Leases{
			Store:        StoreDynamoDB,
			KeyFormat:    MultiStream,
			Failover:     10 * time.Second,
			CreateTables: true,
		},
		Pipeline: Pipeline{
			Window:       64 * MiB,
			DrainTimeout: 20 * time.Second,
		},
		Delivery: Delivery{
			Timeout:     10 * time.Second,
			Concurrency: 64,
			Retry: Retry{
				Initial:    200 * time.Millisecond,
				Max:        60 * time.Second,
				Multiplier: 2,
			},
			BeforeTrim:  time.Hour,
			OnExhausted: OnExhaustedDeadLetter,
			Breaker:     Breaker{Failures: 10, OpenFor: 15 * time.Second},
			Compression: CompressionNone,
			Response:    ResponseStatus,
		},
		Listen: Listen{Metrics: "127.0.0.1:9464", API: DefaultAPI},
		Log:    Log{Level: "info", Format: "json"},
	}
}

// DefaultAPI is listen.api when it is not set.
const DefaultAPI = "127.0.0.1:9465"

// concurrency is what a destination of a type has that names none, and where
// delivery names none. Those that gather records into calls have a call's worth,
// or a dozen small calls'.
func concurrency(kind string) int {
	switch kind {
	case TypeKinesis, TypeS3:
		return 512
	case TypeSQS, TypeSNS:
		return 128
	case TypeFile:
		return 256
	}
	return 64
}

// linger is how long a call of a type waits for more records.
func linger(kind string) time.Duration {
	switch kind {
	case TypeKinesis, TypeSQS, TypeSNS:
		return 10 * time.Millisecond
	case TypeS3:
		return time.Second
	}
	return 0
}

func defaultRole() Role { return Role{Duration: 15 * time.Minute} }

func defaultDeduplicate() Deduplicate { return Deduplicate{Window: 10 * time.Minute} }

func defaultSource() Source {
	return Source{
		Read:         ReadPolling,
		PollInterval: 500 * time.Millisecond,
		OutOfRange:   OutOfRangeDrop,
		Key:          KeyPartitionKey,
	}
}

// defaultDestination is a destination that names nothing itself.
func defaultDestination(common Delivery) Destination {
	return Destination{
		Method:          "POST",
		Auth:            Auth{Type: AuthNone},
		Protocol:        ProtocolAuto,
		Key:             KeyPartitionKey,
		InitialPosition: InitialPosition{Kind: PositionLatest},
		Delivery:        common,
	}
}

func defaultView() View {
	return View{
		Counters: Counters{Total: Counter{Kind: CounterDelta}, Good: Counter{Kind: CounterDelta}, Rejected: Counter{Kind: CounterDelta}},
		Losses: Losses{Running: LossRun, Idle: LossAvailability, Stopped: LossAvailability, PlannedStop: LossPlanned,
			Changeover: LossAvailability, Unknown: LossAvailability},
		CountWhen: CountAlways, AllowedLateness: 10 * time.Minute, IdleTimeout: 2 * time.Minute, MaxAhead: 15 * time.Minute,
		Planned: Planned{Kind: PlannedShifts}, Targets: Targets{OEE: 0.85, Warn: 0.65},
		Retain: 35 * 24 * time.Hour, SaveEvery: 30 * time.Second, MaxMachines: 20_000,
	}
}

func defaultViewInput() ViewInput { return ViewInput{BeforeImage: "before-image"} }

func defaultLine() Line { return Line{OEE: LineBottleneck} }
