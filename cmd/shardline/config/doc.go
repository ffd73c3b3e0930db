// Package config is Shardline's configuration: the YAML file as Go types,
// its defaults, a strict load, and every check that needs no network.
//
// Promise: what Load returns is complete and usable as it is. Defaults are
// filled in, a destination's Delivery is the effective one, names refer to
// things that exist, and nothing in the file was ignored: a field or value
// that this version does not implement is a problem, not a shrug.
//
// Data flow: text → tree (parser, with line and column of every node) →
// expansion of ${NAME} in values → decode over the defaults (Default) →
// validate. Destination files pass through the same steps. Positions are kept
// by path, so that a check made after decoding still names line and column.
//
// On failure Load answers with Problems: all of them at once, sorted by
// position, each with what was found and what is allowed. Only text that is
// not YAML at all stops earlier. Values that came from the environment, and
// secrets, appear in no problem, log or printed configuration.
package config
