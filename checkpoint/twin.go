package checkpoint

import "go.uber.org/zap"

// twins finds other processes that work under this worker's id: they renew
// leases in tenures that are not this process's. Owned by the Holder's Run.
type twins struct {
	worker  string
	process string
	leases  map[string]twinLease // held under this worker's id by others; bounded by the table
}

type twinLease struct {
	tenure  string
	counter int64 // at first sight
}

// see notes a scan. It returns the process of a twin that lives and a lease of
// its, or nothing. One late write of a process that has died may still land:
// only a second one is a sign of life.
func (w *twins) see(leases []Lease) (process, lease string) {
	next := map[string]twinLease{}
	for _, l := range leases {
		holder, shardline := l.Holder()
		if holder != w.worker || !shardline || processOf(l.Tenure) == w.process {
			continue
		}
		n, known := w.leases[l.Key]
		if !known || n.tenure != l.Tenure {
			n = twinLease{tenure: l.Tenure, counter: l.Counter}
		}
		if next[l.Key] = n; l.Counter >= n.counter+2 && processOf(l.Tenure) > process {
			process, lease = processOf(l.Tenure), l.Key
		}
	}
	w.leases = next
	return process, lease
}

// refused is ErrSameWorker when another process works under this worker's id
// and this one has to give way: the one that holds nothing, and if both hold
// leases the one with the smaller process part in its tenures. Both see the
// same, and decide alike.
func (p *passes) refused(leases []Lease) error {
	process, lease := p.twins.see(leases)
	if process == "" {
		p.twin = ""
		return nil
	}
	if p.Held() == 0 || p.process < process {
		p.log.Error("another process works under this worker's id: this one gives way; give every process its own worker_id",
			zap.String("worker", p.cfg.Worker), zap.String("lease", lease))
		return ErrSameWorker
	}
	if p.twin != process {
		p.twin = process
		p.log.Error("another process works under this worker's id, and has to give way; give every process its own worker_id",
			zap.String("worker", p.cfg.Worker), zap.String("lease", lease))
	}
	return nil
}
