package bench

import "fmt"

// Criterion is a bound, and what was measured.
type Criterion struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Bound float64 `json:"bound"`
	Least bool    `json:"least"` // the value has to be the bound at least; else at most
	OK    bool    `json:"ok"`
}

func atLeast(what string, value, bound float64) Criterion {
	return Criterion{what, value, bound, true, value >= bound}
}

func atMost(what string, value, bound float64) Criterion {
	return Criterion{what, value, bound, false, value <= bound}
}

// String is a line of a report.
func (c Criterion) String() string {
	verdict, word := "MISSED", "at most"
	if c.OK {
		verdict = "ok"
	}
	if c.Least {
		word = "at least"
	}
	return fmt.Sprintf("%-6s  %s: %.3f (%s %.3g)", verdict, c.What, c.Value, word, c.Bound)
}

// Missed are the criteria that were missed.
func Missed(all []Criterion) (missed []Criterion) {
	for _, c := range all {
		if !c.OK {
			missed = append(missed, c)
		}
	}
	return missed
}
