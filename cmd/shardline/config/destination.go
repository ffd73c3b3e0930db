package config

import "time"

// Delivery is how records go to a destination.
type Delivery struct {
	// The time for one attempt, from connecting to the end of the answer.
	// Longer bears slower receivers; a receiver that hangs holds a key for as
	// long.
	Timeout time.Duration `yaml:"timeout"`
	// The most attempts in flight to the destination from one worker, 1 to
	// 4096. Per key it is always one, which keeps the order. Left out: 64 for
	// `http`, 512 for `kinesis` and `s3`, 128 for `sqs` and `sns`, 256 for
	// `file`: these gather what is in flight into calls, so that it bounds
	// their throughput.
	Concurrency int `yaml:"concurrency"`
	// Attempts per second over the whole fleet, 0.001 to 1000000, evenly: each
	// worker has the part that its leases are of all that the destination reads
	// of. 0: no limit. Below what arrives, the destination falls behind.
	RateLimit float64 `yaml:"rate_limit"`
	// Attempts per second and key, 0.001 to 1000000. 0: no limit.
	KeyRateLimit float64 `yaml:"key_rate_limit"`
	// When an attempt that may succeed later is made again.
	Retry Retry `yaml:"retry"`
	// Records that the stream will trim within this time go to the dead
	// letters with their bodies, also while the destination is down; 5m to 12h.
	// 0: wait, and report the gap if the stream trims them.
	BeforeTrim time.Duration `yaml:"before_trim"`
	// What happens when a record's retries are used up. `dead_letter`: it goes
	// to the dead letters and its key goes on. `hold_key`: it waits,
	// and its key with it, until somebody releases them; other keys go on.
	// `hold_destination`: the whole destination waits, alarms and probes now and
	// then. Neither skips a record.
	OnExhausted string `yaml:"on_exhausted" enum:"dead_letter,hold_key,hold_destination"`
	// What answers mean to this receiver, over the table of docs/delivery.md.
	Codes Codes `yaml:"codes"`
	// Stops attempts for a while after failures in a row.
	Breaker Breaker `yaml:"breaker"`
	// `none`: the body goes out as it came. `gzip`: compressed, with
	// `Content-Encoding: gzip`, for receivers that say they take it: a fifth of
	// the bytes or less, and some CPU, once per record for all destinations that
	// keep up. Other types of destination than `http` leave it out.
	Compression string `yaml:"compression" enum:"none,gzip"`
	// What counts as delivered. `status`: the HTTP status alone. `opentravel`:
	// also the body, in which an OpenTravel `<Errors>` or a SOAP fault is no
	// success.
	Response string `yaml:"response" enum:"status,opentravel"`
}

// Retry is exponential back-off with full jitter: the pause before attempt
// n+1 is random between 0 and initial × multiplier^(n-1), at most max. A
// receiver's Retry-After comes first, up to an hour.
type Retry struct {
	// The upper end of the first pause.
	Initial time.Duration `yaml:"initial"`
	// The upper end of any pause; at least `initial`. Longer spares a receiver
	// that is down, and finds out later that it is back.
	Max time.Duration `yaml:"max"`
	// The growth of the upper end from pause to pause; at least 1.
	Multiplier float64 `yaml:"multiplier"`
	// The most attempts of one record. 0: no limit; the record keeps its key
	// waiting until it is delivered.
	MaxAttempts int `yaml:"max_attempts"`
	// The longest time from a record's first attempt, not counting the time
	// that the destination was held or its circuit open. 0: no limit.
	MaxAge time.Duration `yaml:"max_age"`
}

// Codes say what answers mean, over the defaults; a code stands in one list at
// most. `450` is an OpenTravel error code, `type:12` an OpenTravel error type
// (both need `response: opentravel`), `http:409` an HTTP status from 300 to 599.
// A list replaces the one of `delivery`.
type Codes struct {
	// The record is tried again.
	Retryable []string `yaml:"retryable"`
	// The record goes to the dead letters.
	Permanent []string `yaml:"permanent"`
	// The destination is held.
	Hold []string `yaml:"hold"`
}

// Breaker stops attempts for a while after failures in a row: transport errors
// and answers that ask to try again. While the circuit is open one record at a
// time is tried, and nothing counts for `max_attempts` and `max_age`. Each worker
// has its own.
type Breaker struct {
	// Failures in a row that open the circuit. 0: it never opens; then every key
	// goes on with its own retries, and uses them up.
	Failures int `yaml:"failures"`
	// How long it stays open before the first probe. The pauses double while
	// probes fail, up to `retry.max`.
	OpenFor time.Duration `yaml:"open_for"`
}

// Destination is a receiver of records. It also takes every field of
// `delivery`, which then overrides the common one.
type Destination struct {
	// The name in logs, metrics, subscriber lists and saved positions:
	// letters, digits, `-`, `_`, `.`; at most 64; unique. A destination that
	// is renamed is a new one.
	Name string `yaml:"name" required:"true"`
	// What kind of receiver it is. Each has its own fields; another's field is
	// a problem.
	Type string `yaml:"type" required:"true" enum:"http,kinesis,sqs,sns,s3,file" later:"iot,mqtt" selects:"true"`
	// The address, http or https, with placeholders whose values are escaped:
	// `{key}`, `{type}` (the OpenTravel message's name; a record without one
	// goes to the dead letters then), `{sequence_number}`, `{source}`.
	// Placeholders may stand in the path and the query. Redirects are not
	// followed. Credentials belong into `auth`.
	URL string `yaml:"url"`
	// The HTTP method.
	Method string `yaml:"method" enum:"POST,PUT,PATCH"`
	// Further request headers; a value may be a secret. Content-Type and
	// SOAPAction follow from the message unless they are set here.
	Headers map[string]Secret `yaml:"headers"`
	// How requests are authenticated.
	Auth Auth `yaml:"auth"`
	// Which HTTP is spoken. `auto`: HTTP/1.1, the fast way; through a proxy of
	// the environment what client and receiver agree upon. `http1`: HTTP/1.1,
	// also through a proxy. `http2`: HTTP/2, with an `http` address without
	// asking first; for receivers that speak nothing else.
	Protocol string `yaml:"protocol" enum:"auto,http1,http2"`
	// How https is spoken. Unset: the system's roots are trusted and no
	// certificate is shown.
	TLS TLS `yaml:"tls"`
	// The stream of `kinesis`: `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME`. It
	// may be a source's too, as long as records do not go round.
	Stream StreamARN `yaml:"stream"`
	// The partition key under which `kinesis` puts records. `partition_key`:
	// the one that they have. `hotel_code` and `json:/…`: as with a source's
	// `key`; a record without one value for it takes its partition key, which
	// is counted, and one that cannot be read goes to the dead letters. What
	// keeps the records of a key in order on their way is the source's `key`:
	// set both alike where they differ from the partition key.
	Key string `yaml:"key" enum:"partition_key,hotel_code,json:/…"`
	// Put records that wait together as aggregated records, as the Kinesis
	// Producer Library does: fewer records for the stream's limits, for readers
	// that open them. It needs `kinesis:ListShards`.
	Aggregate bool `yaml:"aggregate"`
	// The URL of the FIFO queue of `sqs`,
	// `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.fifo`. A standard queue is
	// refused: it keeps no order.
	Queue string `yaml:"queue"`
	// The topic of `sns`: `arn:aws:sns:REGION:ACCOUNT:NAME`. One whose name ends
	// in `.fifo` keeps the order; a standard topic hands on in any order.
	Topic string `yaml:"topic"`
	// The bucket of `s3`.
	Bucket string `yaml:"bucket"`
	// What the keys of the objects of `s3` begin with, as it is, such as
	// `hotels/`.
	Prefix string `yaml:"prefix"`
	// The region of the queue of `sqs` or the bucket of `s3`. Empty: the one in
	// the queue's URL, or the configuration's.
	Region string `yaml:"region"`
	// The file of `file`, created when missing, in a folder that exists. A
	// relative path is relative to the configuration file's folder.
	Path string `yaml:"path"`
	// The role to call AWS with, usually in the account of the stream, queue,
	// topic or bucket. Without one Shardline's own credentials are used.
	Role *Role `yaml:"role"`
	// How long a call of `kinesis`, `sqs`, `sns` or `s3` that is not full waits
	// for more records, 1ms to 1m, and half of `timeout` at most. Longer makes fewer calls, or larger objects,
	// and delays each record by as much while fewer are in flight than
	// `concurrency` allows. Left out: 10ms, and 1s for `s3`.
	Linger time.Duration `yaml:"linger"`
	// Where the destination begins when it is new to an application that
	// already has checkpoints: `trim_horizon`, `latest`, or an RFC 3339 time.
	// On a shard without checkpoint the source's own `initial_position`
	// counts.
	InitialPosition InitialPosition `yaml:"initial_position"`
	// Which records the destination gets, such as
	// `hotel in [10023, 10024] && type != OTA_HotelResNotifRQ`: tests of `key`,
	// `partition_key`, `type` (of the message), `hotel` (one of those that the
	// message names is enough) and `source` by `==`, `!=`, `in […]`, or the
	// patterns `=~` and `!~` (RE2, of the whole value), with `&&`, `||`, `!` and
	// parentheses. The others count as settled at once. Empty: all.
	Filter string `yaml:"filter"`
	// The dead letter queue for records that the destination refuses or that
	// have used up their retries. Required unless `on_exhausted` is
	// `hold_key` or `hold_destination`; without one a refused record holds as
	// that says.
	DeadLetters string `yaml:"dead_letters"`
	// Delivery is the effective one: the common fields with the destination's
	// own over them.
	Delivery `yaml:",inline"`
}

// TLS is how https is spoken with a destination. Relative paths are relative to
// the configuration file's folder.
type TLS struct {
	// A PEM file with the certificates to trust instead of the system's, read
	// at the start.
	Roots string `yaml:"roots"`
	// A PEM file with our own certificate and its chain. It is read with `key`
	// at every handshake, so that a renewed pair is used without a restart.
	Certificate string `yaml:"certificate"`
	// A PEM file with the certificate's key.
	Key string `yaml:"key"`
	// The name in the receiver's certificate. Empty: the host of `url`.
	ServerName string `yaml:"server_name"`
}

// Auth is how requests to a destination are authenticated. Each type has its
// own fields; another type's field is a problem.
type Auth struct {
	// `none`; `basic`: `username` and `password`; `bearer`: `token`; `header`:
	// `name` and `value`; `oauth2`: a bearer token by client credentials, with
	// `token_url`, `client_id` and `client_secret`; `wsse`: `username` and
	// `password` as a digest in the header X-WSSE (the body goes out as it came:
	// a UsernameToken in the SOAP header is the producer's); `mtls`: the
	// certificate and key of `tls`, which it requires.
	Type string `yaml:"type" enum:"none,basic,bearer,header,oauth2,wsse,mtls" selects:"true"`
	// The user's name of `basic`, without colon, and of `wsse`.
	Username string `yaml:"username"`
	// The password of `basic` and of `wsse`.
	Password Secret `yaml:"password"`
	// The token of `bearer`.
	Token Secret `yaml:"token"`
	// The header's name of `header`.
	Name string `yaml:"name"`
	// The header's value of `header`.
	Value Secret `yaml:"value"`
	// The token endpoint of `oauth2`, http or https. It is asked in the
	// background, ahead of each token's end and after a 401.
	TokenURL string `yaml:"token_url"`
	// The client's id of `oauth2`.
	ClientID string `yaml:"client_id"`
	// The client's secret of `oauth2`.
	ClientSecret Secret `yaml:"client_secret"`
	// The scopes of `oauth2`, with spaces between them. Empty: none.
	Scope string `yaml:"scope"`
	// The audience of `oauth2`, which some endpoints ask for. Empty: none.
	Audience string `yaml:"audience"`
	// Where the client's id and secret of `oauth2` go. `header` (also when it is
	// empty): in a header, as basic authentication; `body`: in the form.
	ClientAuth string `yaml:"client_auth" enum:"header,body"`
}
