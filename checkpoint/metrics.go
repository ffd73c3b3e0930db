package checkpoint

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a tenure was lost, as label reason.
const (
	reasonExpired = "expired"     // it could not be renewed in time
	reasonTaken   = "taken"       // another worker wrote the lease
	reasonDeleted = "deleted"     // the lease is gone from the table
	reasonForeign = "same_worker" // another process took it under this worker's id
)

// Metrics are what a Holder and its Store count.
type Metrics struct {
	held     prometheus.Gauge
	taken    prometheus.Counter
	lost     *prometheus.CounterVec
	foreign  *prometheus.GaugeVec
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the package's metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shardline_checkpoint_leases_held",
			Help: "Leases that this worker holds.",
		}),
		taken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shardline_checkpoint_leases_taken_total",
			Help: "Leases that this worker has taken.",
		}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shardline_checkpoint_leases_lost_total",
			Help: "Leases that this worker lost without giving them up, by reason.",
		}, []string{"reason"}),
		foreign: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shardline_checkpoint_foreign_leases",
			Help: "Leases that workers which are not Shardline renew, by whether leases.shared_with_kcl expects them.",
		}, []string{"expected"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shardline_checkpoint_store_calls_total",
			Help: "Calls to the lease store, by operation and outcome.",
		}, []string{"operation", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "shardline_checkpoint_store_call_duration_seconds",
			Help:    "Duration of calls to the lease store, by operation.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"operation"}),
	}
	for _, reason := range []string{reasonExpired, reasonTaken, reasonDeleted, reasonForeign} {
		m.lost.WithLabelValues(reason)
	}
	for _, e := range expected {
		m.foreign.WithLabelValues(e)
	}
	for _, op := range []string{opPrepare, opList, opListNow, opFirst, opDesired, opSetDesired, opGet, opCreate, opTake, opRenew, opRelease, opAsk, opSetChildren, opDelete} {
		m.duration.WithLabelValues(op)
		for _, o := range []string{"ok", "refused", "throttled", "error"} {
			m.calls.WithLabelValues(op, o)
		}
	}
	if reg != nil {
		reg.MustRegister(m.held, m.taken, m.lost, m.foreign, m.calls, m.duration)
	}
	return m
}

// Measure counts the calls to s. The Holder does it for its own Store.
func Measure(s Store, m *Metrics) Store {
	if _, ok := s.(*measured); ok || m == nil {
		return s
	}
	return &measured{store: s, metrics: m}
}

type measured struct {
	store   Store
	metrics *Metrics
}

// count takes a pointer so that it can be deferred before the call.
func (s *measured) count(op string, start time.Time, err *error) {
	outcome := "ok"
	switch e := *err; {
	case e == nil:
	case errors.Is(e, ErrConflict), errors.Is(e, ErrExists), errors.Is(e, ErrNotFound), refusesSave(e):
		outcome = "refused"
	case errors.Is(e, ErrThrottled):
		outcome = "throttled"
	default:
		outcome = "error"
	}
	s.metrics.calls.WithLabelValues(op, outcome).Inc()
	s.metrics.duration.WithLabelValues(op).Observe(time.Since(start).Seconds())
}

func (s *measured) Prepare(ctx context.Context) (err error) {
	defer s.count(opPrepare, time.Now(), &err)
	return s.store.Prepare(ctx)
}

func (s *measured) List(ctx context.Context) (_ []Lease, err error) {
	defer s.count(opList, time.Now(), &err)
	return s.store.List(ctx)
}

func (s *measured) First(ctx context.Context, stream string, proposal map[string]Position) (_ map[string]Position, err error) {
	defer s.count(opFirst, time.Now(), &err)
	return s.store.First(ctx, stream, proposal)
}

func (s *measured) ListNow(ctx context.Context) (_ []Lease, err error) {
	defer s.count(opListNow, time.Now(), &err)
	return s.store.ListNow(ctx)
}

func (s *measured) Desired(ctx context.Context) (_ Desired, err error) {
	defer s.count(opDesired, time.Now(), &err)
	return s.store.Desired(ctx)
}

func (s *measured) SetDesired(ctx context.Context, before int64, d Desired) (err error) {
	defer s.count(opSetDesired, time.Now(), &err)
	return s.store.SetDesired(ctx, before, d)
}

func (s *measured) Get(ctx context.Context, key string) (_ Lease, err error) {
	defer s.count(opGet, time.Now(), &err)
	return s.store.Get(ctx, key)
}

func (s *measured) Create(ctx context.Context, l Lease) (err error) {
	defer s.count(opCreate, time.Now(), &err)
	return s.store.Create(ctx, l)
}

func (s *measured) Take(ctx context.Context, seen Lease, owner, tenure string) (_ Lease, err error) {
	defer s.count(opTake, time.Now(), &err)
	return s.store.Take(ctx, seen, owner, tenure)
}

func (s *measured) Renew(ctx context.Context, held Lease, save *Saved) (_ Lease, err error) {
	defer s.count(opRenew, time.Now(), &err)
	return s.store.Renew(ctx, held, save)
}

func (s *measured) Release(ctx context.Context, held Lease, save *Saved) (err error) {
	defer s.count(opRelease, time.Now(), &err)
	return s.store.Release(ctx, held, save)
}

func (s *measured) Ask(ctx context.Context, seen Lease, owner string) (err error) {
	defer s.count(opAsk, time.Now(), &err)
	return s.store.Ask(ctx, seen, owner)
}

func (s *measured) SetChildren(ctx context.Context, held Lease, children []string) (err error) {
	defer s.count(opSetChildren, time.Now(), &err)
	return s.store.SetChildren(ctx, held, children)
}

func (s *measured) Delete(ctx context.Context, seen Lease) (err error) {
	defer s.count(opDelete, time.Now(), &err)
	return s.store.Delete(ctx, seen)
}
