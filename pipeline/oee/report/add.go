package report

import (
	"cmp"
	"slices"

	"github.com/shardline/shardline/pipeline/oee"
)

// add is the result of several results together: sums are added, and ratios
// follow from them. It is as little settled as the least settled one, and its
// revision grows with every one of theirs. Its window is left to the caller.
func add(results []oee.Result) oee.Result {
	var sum oee.Result
	stops := map[oee.Stop]oee.Stop{} // by reason and class
	outputs := map[string]oee.Output{}
	for i, x := range results {
		if i == 0 {
			sum.View, sum.Machine, sum.Line, sum.Bottleneck = x.View, x.Machine, x.Line, x.Bottleneck
			sum.State, sum.Through = x.State, x.Through
		}
		sum.Sums = plus(sum.Sums, x.Sums)
		sum.Revision += x.Revision
		sum.State = lessSettled(sum.State, x.State)
		if x.Through.After(sum.Through) {
			sum.Through = x.Through
		}
		if x.Machine != sum.Machine {
			sum.Machine = ""
		}
		if x.Bottleneck != sum.Bottleneck {
			sum.Bottleneck = ""
		}
		for _, s := range x.Stops {
			key := oee.Stop{Reason: s.Reason, Class: s.Class}
			of := stops[key]
			stops[key] = oee.Stop{Reason: s.Reason, Class: s.Class, Time: of.Time + s.Time, Number: of.Number + s.Number}
		}
		for _, o := range x.Outputs {
			of := outputs[o.Product]
			outputs[o.Product] = oee.Output{Product: o.Product, Total: of.Total + o.Total, Good: of.Good + o.Good, Rejected: of.Rejected + o.Rejected,
				IdealTotal: of.IdealTotal + o.IdealTotal, IdealGood: of.IdealGood + o.IdealGood}
		}
		for _, f := range x.Flags {
			if f != oee.FlagPerformance && f != oee.FlagGood && !slices.Contains(sum.Flags, f) { // those are of the sums themselves
				sum.Flags = append(sum.Flags, f)
			}
		}
	}
	for _, s := range stops {
		sum.Stops = append(sum.Stops, s)
	}
	slices.SortFunc(sum.Stops, func(a, b oee.Stop) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Class, b.Class))
	})
	for _, o := range outputs {
		sum.Outputs = append(sum.Outputs, o)
	}
	slices.SortFunc(sum.Outputs, func(a, b oee.Output) int { return cmp.Compare(a.Product, b.Product) })
	if p, ok := sum.Performance(); ok && p > 1 {
		sum.Flags = append(sum.Flags, oee.FlagPerformance)
	}
	if sum.Sums.Good > sum.Sums.Total {
		sum.Flags = append(sum.Flags, oee.FlagGood)
	}
	slices.Sort(sum.Flags)
	return sum
}

// plus adds sums.
func plus(a, b oee.Sums) oee.Sums {
	return oee.Sums{
		Length: a.Length + b.Length, Planned: a.Planned + b.Planned, Run: a.Run + b.Run, Idle: a.Idle + b.Idle, Stopped: a.Stopped + b.Stopped,
		Unknown: a.Unknown + b.Unknown, Unplanned: a.Unplanned + b.Unplanned, Changeover: a.Changeover + b.Changeover,
		PlannedStop: a.PlannedStop + b.PlannedStop, Slow: a.Slow + b.Slow, MicroStops: a.MicroStops + b.MicroStops,
		Total: a.Total + b.Total, Good: a.Good + b.Good, Rejected: a.Rejected + b.Rejected,
		IdealTotal: a.IdealTotal + b.IdealTotal, IdealGood: a.IdealGood + b.IdealGood, Unrated: a.Unrated + b.Unrated,
	}
}

// lessSettled is the state of two results together: early if one is, then
// late, on time, final.
func lessSettled(a, b oee.State) oee.State {
	order := []oee.State{oee.Early, oee.Late, oee.OnTime, oee.Final}
	if slices.Index(order, a) < slices.Index(order, b) {
		return a
	}
	return b
}
