// Package simulation runs the real worker, reader, leases and deliveries in
// seeded histories under fake time, and holds them to the promises P1 (order),
// P2 (no loss) and P3 (one owner).
//
// A history has one to two streams in memory that are resharded and trimmed, a
// lease table in memory, several worker processes that crash, freeze, stop and
// start with changing configurations, and destinations that are slow, dead,
// hanging or refuse. Every call that a process makes goes through its gate,
// which can freeze it, or cut it off for good as a kill does.
//
// The world keeps the truth: what was put into the streams, which attempt began
// when, what was settled. One checker compares it with every attempt as it
// begins and with every write to the lease table as it lands: whatever a worker
// would believe that took the lease now has to be settled. In the end all
// faults stop, and everything must drain in bounded time.
//
// The same seed makes the same plan and the same faults per place. Goroutines
// that are due at the same instant still run in any order, so that a rare
// violation may need its seed more than once; the history's log says what
// happened in the run that failed.
package simulation
