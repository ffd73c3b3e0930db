// Package secrets keeps values of AWS Secrets Manager at hand, and tokens of
// OAuth 2.0.
//
// Promise: whoever needs a value has it from memory and never waits for the
// service. Run alone asks the service: every secret about once a minute, so
// that a rotation is picked up, and at once when a receiver has refused a
// value. While the service cannot be asked the last value stays in use; a value
// that was never read is an error that says why.
//
// Data flow: Value registers a secret → Load reads what has not been read yet,
// before the first use → Run reads again → Text and Refused answer from memory.
// Several values of one secret (its JSON fields) are one call. A Token is for
// itself, and goes the same way; it ends, so that the last one does not serve
// for ever.
//
// Values never appear in logs, errors or metrics; the secrets' names do.
package secrets
