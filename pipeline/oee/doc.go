// Package oee makes figures of machine events: availability, performance,
// quality and their product per machine and window (shift, hour, day, fixed
// lengths), for lines from those of their machines, and alerts.
//
// Events of a machine wait in event-time order until nothing older is to be
// expected (Config.Lateness). Then they go into the item of their hour (Hour):
// changes of state, units per product and minute, and what held before. A
// window's sums are derived from the hours and from what still waits, and its
// ratios from the sums, last. So a row that comes late (a schedule, an ideal
// rate, an inspection) revises every window that it touches.
//
// Durations are whole nanoseconds and units whole millionths: sums are exact,
// in whatever order they are added, and the states of a window add up to its
// length.
//
// The package is a calculation: it starts no goroutine, reads no clock and
// knows no stream. Whoever owns a View tells it events, rows and the time, and
// saves its machines and hours. A View belongs to one goroutine.
package oee
