package checkpoint

import "time"

// What tests outside the package need of its inside.

var TenureOf = tenureOf

type Ageing struct{ ageing }

func NewAgeing() Ageing { return Ageing{ageing{}} }

func (a Ageing) See(r Reading, asked, answered time.Time) { a.see(r, asked, answered) }

func (a Ageing) Of(end time.Time) map[string]Age { return a.of(end) }
