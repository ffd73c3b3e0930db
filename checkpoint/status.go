package checkpoint

import (
	"fmt"
	"time"
)

// Held is how many leases this worker serves now.
func (h *Holder) Held() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.tenures)
}

// Err is what the last scan of the lease table failed with; nil: it worked, or
// none was made yet.
func (h *Holder) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scanErr
}

func (h *Holder) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scanErr = err
}

// SavedAge is the time since the last write to the lease was sent after which
// the table had what Positions said. A renewal that leaves refused positions
// out does not count.
func (t *Tenure) SavedAge() time.Duration {
	return t.h.cfg.Clock() - time.Duration(t.saved.Load())
}

// Alive says whether the loop that scans and takes still comes round: every
// call that it makes is bounded, so an error means that the process is stuck
// and has to be restarted.
func (h *Holder) Alive() error {
	beat := h.beat.Load()
	if beat == nil {
		return nil
	}
	if age := time.Since(*beat); age > max(time.Minute, 6*h.cfg.Failover) {
		return fmt.Errorf("no pass over the leases for %s", age.Round(time.Second))
	}
	return nil
}
