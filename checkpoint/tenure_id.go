package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
)

// A tenure is 32 hexadecimal digits: 8 of the worker id's hash, 8 of its
// process, 16 of the take. Workers of others write owners and leave the tenure
// as it is, so only one that fits its owner says that Shardline holds a lease;
// and two processes under one worker id tell each other apart by theirs.
const (
	workerDigits  = 8
	processDigits = 8
	tenureDigits  = workerDigits + processDigits + 16
)

// tenureOf is the tenure of a take by a worker's process. take has 16
// hexadecimal digits, process 8.
func tenureOf(worker, process, take string) string { return workerHash(worker) + process + take }

func workerHash(worker string) string {
	sum := sha256.Sum256([]byte(worker))
	return hex.EncodeToString(sum[:workerDigits/2])
}

// processOf is the part of a tenure that tells a process; empty: it has none.
func processOf(tenure string) string {
	if len(tenure) != tenureDigits {
		return ""
	}
	return tenure[workerDigits : workerDigits+processDigits]
}

// Holder is the worker that holds the lease, the one that hands it over until
// it has done so; empty: nobody. shardline says that it is a Shardline worker.
func (l Lease) Holder() (worker string, shardline bool) {
	worker = l.Owner
	if l.HandingOver != "" {
		worker = l.HandingOver
	}
	return worker, worker != "" && len(l.Tenure) == tenureDigits && l.Tenure[:workerDigits] == workerHash(worker)
}
