package oee

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// rates are the ideal rates of a view: those of the configuration, and rows,
// which win. Of each, the rate that names machine and product wins over one
// that names the product, then the machine, then neither.
type rates struct {
	configured map[rateKey]Rate
	rows       map[rowKey]*Row
	byKey      map[rateKey][]*Row // in order of Start; the last one that holds counts
}

type rateKey struct{ machine, product string }

func newRates(c *Config) rates {
	r := rates{configured: map[rateKey]Rate{}, rows: map[rowKey]*Row{}, byKey: map[rateKey][]*Row{}}
	for _, rate := range c.IdealRates {
		r.configured[rateKey{rate.Machine, rate.Product}] = rate.Rate
	}
	return r
}

// putRate takes an ideal rate's row.
func (v *View) putRate(key rowKey, r Row) bool {
	old := v.rates.rows[key]
	if old == nil && len(v.rates.rows) >= MaxRows {
		return false
	}
	if old != nil {
		if r.Position.Compare(old.Position) <= 0 {
			return false
		}
		if r.Delete {
			kept := *old
			kept.Delete, kept.Position = true, r.Position
			r = kept
		}
	}
	v.rates.rows[key] = &r
	if old != nil && !old.Delete {
		at := rateKey{old.Machine, old.Product}
		v.rates.byKey[at] = slices.DeleteFunc(v.rates.byKey[at], func(o *Row) bool { return o == old })
		if len(v.rates.byKey[at]) == 0 {
			delete(v.rates.byKey, at)
		}
		v.touchRate(old)
	}
	if !r.Delete {
		at := rateKey{r.Machine, r.Product}
		rows := append(v.rates.byKey[at], &r)
		slices.SortFunc(rows, func(a, b *Row) int {
			return cmp.Or(cmp.Compare(nanos(a.Start), nanos(b.Start)), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Key, b.Key))
		})
		v.rates.byKey[at] = rows
		v.touchRate(&r)
	}
	return true
}

// touchRate says that the figures of whom a rate is for may have changed.
func (v *View) touchRate(r *Row) {
	if r.Machine != "" {
		if m := v.machines[r.Machine]; m != nil {
			v.touch(m, r.touches())
		}
		return
	}
	for _, m := range v.machines {
		v.touch(m, r.touches())
	}
}

// at is the ideal rate of a product on a machine at an instant.
func (r *rates) at(machine, product string, t int64) (Rate, bool) {
	keys := [...]rateKey{{machine, product}, {"", product}, {machine, ""}, {"", ""}}
	if len(r.byKey) > 0 {
		for _, key := range keys {
			rows := r.byKey[key]
			for i := len(rows) - 1; i >= 0; i-- {
				if row := rows[i]; nanos(row.Start) <= t && t < row.end() && row.Rate.Valid() {
					return row.Rate, true
				}
			}
		}
	}
	for _, key := range keys {
		if rate, ok := r.configured[key]; ok {
			return rate, true
		}
	}
	return Rate{}, false
}

// ideal is how long u units take at the rate, to the nearest nanosecond, and
// 292 years at most.
func (r Rate) ideal(u Units) time.Duration {
	magnitude := uint64(u)
	if u < 0 {
		magnitude = -magnitude
	}
	high, low := bits.Mul64(magnitude, uint64(r.Per))
	if high >= uint64(r.Units) {
		return clampDuration(u)
	}
	quotient, rest := bits.Div64(high, low, uint64(r.Units))
	if rest >= uint64(r.Units)-rest {
		quotient++
	}
	if quotient > 1<<63-1 {
		return clampDuration(u)
	}
	if u < 0 {
		return -time.Duration(quotient)
	}
	return time.Duration(quotient)
}

func clampDuration(u Units) time.Duration {
	if u < 0 {
		return -1<<63 + 1
	}
	return 1<<63 - 1
}
