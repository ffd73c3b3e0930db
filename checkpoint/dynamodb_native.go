package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"
)

// Workers of KCL 3.x that run natively do not take leases: their leader assigns
// them, and would assign Shardline's. What they write beside the leases stays
// when they stop, so only writing tells that they live: a lease's counter, the
// leader's record, or a worker's metrics that change. Clocks are not compared.

// leaderBeat is within which a live leader writes its record: every 30 s.
const leaderBeat = 35 * time.Second

// nativeFleet is what a store has seen of native workers.
type nativeFleet struct {
	failover time.Duration

	mu      sync.Mutex // guards what follows
	mode    string     // what Migration3.0 says
	table   string     // where it stands
	facts   map[string]fact
	changed time.Time       // when one changed last, or was first seen
	workers map[string]bool // who changed one since; empty: they were still
	asked   time.Time       // when the coordinator's tables were read last
	side    map[string]fact // what they said
	missing bool            // there is no coordinator's table
	denied  bool            // they must not be read
	unread  error           // why the last reading of them failed
}

// fact is something that changes while a worker lives. Its name is unique in
// a fleet; their number is bounded by the tables'.
type fact struct{ worker, value string }

const (
	factMode   = "mode "
	factLeader = "leader"
	factLease  = "lease "
	factWorker = "worker "
)

// see compares facts with those seen before. mu is held.
func (n *nativeFleet) see(facts map[string]fact, now time.Time) {
	first := n.facts == nil
	if first {
		n.changed = now
	}
	for name, f := range facts {
		old, known := n.facts[name]
		// An owner that turns up has not renewed yet: it may be a Shardline
		// worker that was given the lease.
		alive := known && old.value != f.value || !known && !strings.HasPrefix(name, factLease)
		if first || !alive {
			continue
		}
		if n.changed = now; n.workers == nil {
			n.workers = map[string]bool{}
		}
		n.workers[cmp.Or(f.worker, "unknown")] = true
	}
	n.facts = facts
	if now.Sub(n.changed) > n.window() {
		n.workers = nil
	}
}

// window is how long a dead fleet changes nothing.
func (n *nativeFleet) window() time.Duration {
	if _, led := n.facts[factLeader]; led {
		return max(n.failover, leaderBeat)
	}
	return n.failover
}

func (n *nativeFleet) native() bool { return strings.HasPrefix(n.mode, "CLIENT_VERSION_3X") }

// live is ErrForeign when native workers have written lately.
func (n *nativeFleet) live(now time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.native() || len(n.workers) == 0 || now.Sub(n.changed) > n.window() {
		return nil
	}
	return fmt.Errorf("table %s, item Migration3.0: KCL workers in mode %s (%s) assign the leases of this application by themselves, "+
		"and would take Shardline's; stop them, or use another application name: %w",
		n.table, n.mode, strings.Join(slices.Sorted(maps.Keys(n.workers)), ", "), ErrForeign)
}

// waitForStillness refuses a live native fleet, and goes on when what one left
// behind has not changed for as long as a live one would.
func (d *DynamoDB) waitForStillness(ctx context.Context) error {
	n := d.native
	for waiting := false; ; {
		call, cancel := context.WithTimeout(ctx, 2*prepareCall) // it has pages
		_, err := d.observe(call)
		cancel()
		if err != nil {
			return err
		}
		n.mu.Lock()
		err = n.unread
		n.mu.Unlock()
		if err != nil {
			return err // stillness cannot be told
		}
		if err := n.live(time.Now()); err != nil {
			return err
		}
		n.mu.Lock()
		native, mode, table, window := n.native(), n.mode, n.table, n.window()
		still := time.Since(n.changed)
		n.mu.Unlock()
		if !native {
			return nil
		}
		if still > window {
			d.log.Info("the KCL workers that assigned the leases have stopped: going on at their checkpoints",
				zap.String("table", table), zap.String("mode", mode))
			return nil
		}
		if !waiting {
			waiting = true
			d.log.Info("KCL workers have assigned the leases by themselves: watching whether they still do",
				zap.String("table", table), zap.String("mode", mode), zap.Duration("for", window))
		}
		if !sleep(ctx, min(n.failover/4, 2*time.Second)) {
			return fmt.Errorf("watch table %s for native KCL workers: %w", table, context.Cause(ctx))
		}
	}
}

// observeNative notes what native workers write: in the lease table (KCL 3.5)
// or in tables of their own, and the counters of leases that others hold.
func (d *DynamoDB) observeNative(ctx context.Context, others []item, leases []Lease) {
	mode, table, facts := readNative(d.table, aLeaseKey, others)
	side, sideMode := d.askCoordinator(ctx)
	maps.Copy(facts, side)
	if nativeMode := strings.HasPrefix(mode, "CLIENT_VERSION_3X"); !nativeMode && sideMode != "" {
		mode, table = sideMode, d.coordinator
	}
	for _, l := range leases {
		if worker, shardline := l.Holder(); worker != "" && !shardline {
			facts[factLease+worker+" "+l.Key] = fact{worker, strconv.FormatInt(l.Counter, 10)}
		}
	}
	n := d.native
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mode, n.table = mode, table
	n.see(facts, time.Now())
}

// readNative reads the items that KCL 3.x keeps beside its leases; key is the
// name of their hash key.
func readNative(table, key string, items []item) (mode, where string, facts map[string]fact) {
	facts = map[string]fact{}
	for _, it := range items {
		switch name := text(it, key); {
		case name == "Migration3.0":
			mode, where = text(it, "cv"), table
			facts[factMode+table] = fact{text(it, "mb"), mode}
		case name == "Leader":
			facts[factLeader] = fact{text(it, "ownerName"), text(it, "recordVersionNumber")}
		case it["lut"] != nil:
			lut, _ := it["lut"].(*types.AttributeValueMemberN)
			if lut != nil {
				facts[factWorker+name] = fact{name, lut.Value}
			}
		}
	}
	return mode, where, facts
}

// askCoordinator reads the tables of KCL 3.0 to 3.4 now and then, or, when there
// are none, once per minute whether they have come. They are not the leases': when
// they cannot be read, what they said last counts.
func (d *DynamoDB) askCoordinator(ctx context.Context) (facts map[string]fact, mode string) {
	n := d.native
	n.mu.Lock()
	pause := min(n.failover/4, leaderBeat/7)
	if n.missing {
		pause = time.Minute
	}
	skip := n.denied || !n.asked.IsZero() && time.Since(n.asked) < pause
	n.mu.Unlock()
	if !skip {
		call, cancel := context.WithTimeout(ctx, min(max(n.failover/4, time.Second), 2*time.Second))
		items, err := d.readCoordinator(call)
		cancel()
		n.mu.Lock()
		if n.unread, n.asked = err, time.Now(); err == nil {
			_, _, n.side = readNative(d.coordinator, aStateKey, items)
		}
		n.mu.Unlock()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.side, n.side[factMode+d.coordinator].value
}

// readCoordinator reads the items of a native fleet's own tables. Only when
// Migration3.0 is there it reads the rest.
func (d *DynamoDB) readCoordinator(ctx context.Context) ([]item, error) {
	var items []item
	for _, key := range []string{"Migration3.0", "Leader"} {
		out, err := d.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &d.coordinator, Key: item{aStateKey: textValue(key)}}, twice)
		if d.notThere(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("get %s of table %s: %w", key, d.coordinator, storeError(err))
		}
		if out.Item == nil && key == "Migration3.0" {
			return nil, nil
		}
		if out.Item != nil {
			items = append(items, out.Item)
		}
	}
	metrics := strings.TrimSuffix(d.coordinator, "-CoordinatorState") + "-WorkerMetricStats"
	out, err := d.client.Scan(ctx, &dynamodb.ScanInput{TableName: aws.String(metrics)}, twice)
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing), denied(err):
		return items, nil // the leader's record and the leases tell as well
	case err != nil:
		return nil, fmt.Errorf("scan table %s: %w", metrics, storeError(err))
	}
	for _, it := range out.Items {
		it[aStateKey] = it["wid"]
		items = append(items, it)
	}
	return items, nil
}

// notThere notes whether the coordinator's table is missing, or not to be read
// with Shardline's permissions.
func (d *DynamoDB) notThere(err error) bool {
	var missing *types.ResourceNotFoundException
	n := d.native
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missing = errors.As(err, &missing)
	if n.denied = denied(err); n.denied {
		d.log.Debug("table of KCL 3.x coordination not readable: not checked", zap.String("table", d.coordinator))
	}
	return n.missing || n.denied
}

func denied(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && strings.HasSuffix(api.ErrorCode(), "AccessDeniedException")
}
