// Package decode reads the records of an OEE view's inputs: the bytes of one
// record become machine events and rows of tables.
//
// Promise: what a record says is taken exactly or not at all. Numbers stay
// decimals, also those that are written as texts; times keep their fractions;
// of a record with several events, one that cannot be read refuses them all,
// so that a record which is sent again after repair counts once. An error
// names the field and says what is wrong with it.
//
// Data flow: a record is one JSON object, or several in an array or one after
// the other; each passes the reader once, which stops only at the values that
// the input's fields lead to. Formats: JSON of PLCs by pointers, change
// records of AWS DMS, notifications of AWS IoT SiteWise, Sparkplug B as JSON.
//
// Whether a time is plausible, a machine known and a state mapped is the
// view's to say, which counts them.
package decode
