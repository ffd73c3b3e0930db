// Package bench measures Shardline's delivery path beside clients that do
// nothing else, alternating in one run against the same sink process.
package bench
