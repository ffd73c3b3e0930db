// Package control gives operators' commands for destinations, and tells what
// became of them: for the command line, and for the API of a worker.
//
// A command changes the desired state in the state table, under a condition
// (checkpoint.Give); workers obey it within a scan of the lease table and say so
// in their leases, which is what Await waits for. So commands work without a
// worker that can be reached, and outlive whoever gave them.
//
// On failure: a command of which it is not known whether it was applied is given
// again under its id, which applies it once.
package control
