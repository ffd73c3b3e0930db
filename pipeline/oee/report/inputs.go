package report

import (
	"slices"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// maxProducts bounds the products that are listed by name.
const maxProducts = 10

// abreast is how many windows a table of inputs has side by side: as many as
// paper has room for.
const abreast = 5

// inputs are the sums behind results, in tables.
func (r *Report) inputs(results []oee.Result) (all []inputs) {
	for some := range slices.Chunk(results, abreast) {
		all = append(all, r.inputTable(some))
	}
	return all
}

// inputTable has the sums, how ratios follow from them, and what was made of
// each product.
func (r *Report) inputTable(results []oee.Result) (t inputs) {
	for _, x := range results {
		t.Columns = append(t.Columns, title(x.Window))
	}
	put := func(name, how string, of func(x oee.Result) string) {
		row := inputRow{Name: name, How: how, Ratio: how != ""}
		for _, x := range results {
			row.Values = append(row.Values, of(x))
		}
		t.Rows = append(t.Rows, row)
	}
	figure := func(name, how string, of func(x *oee.Result) (float64, bool)) {
		put(name, how, func(x oee.Result) string { return ratio(of(&x)) })
	}
	lasting := func(name string, of func(s oee.Sums) time.Duration) {
		put(name+", min", "", func(x oee.Result) string { return minutes(of(x.Sums)) })
	}
	count := func(name string, of func(s oee.Sums) oee.Units) {
		put(name, "", func(x oee.Result) string { return units(of(x.Sums)) })
	}
	some := func(is func(s oee.Sums) bool) bool {
		return slices.ContainsFunc(results, func(x oee.Result) bool { return is(x.Sums) })
	}
	lasting("Planned", func(s oee.Sums) time.Duration { return s.Planned })
	lasting("Run", func(s oee.Sums) time.Duration { return s.Run })
	if some(func(s oee.Sums) bool { return s.Slow != 0 }) {
		lasting("of it slow, micro-stops", func(s oee.Sums) time.Duration { return s.Slow })
	}
	lasting("Idle", func(s oee.Sums) time.Duration { return s.Idle })
	lasting("Stopped", func(s oee.Sums) time.Duration { return s.Stopped })
	lasting("Changeover", func(s oee.Sums) time.Duration { return s.Changeover })
	lasting("No data", func(s oee.Sums) time.Duration { return s.Unknown })
	lasting("Not planned", func(s oee.Sums) time.Duration { return s.Unplanned })
	if some(func(s oee.Sums) bool { return s.PlannedStop != 0 }) {
		lasting("of it planned stops", func(s oee.Sums) time.Duration { return s.PlannedStop })
	}
	count("Units", func(s oee.Sums) oee.Units { return s.Total })
	count("Good units", func(s oee.Sums) oee.Units { return s.Good })
	count("Rejected units", func(s oee.Sums) oee.Units { return s.Rejected })
	if some(func(s oee.Sums) bool { return s.Unrated != 0 }) {
		count("Units without an ideal rate", func(s oee.Sums) oee.Units { return s.Unrated })
	}
	lasting("Ideal time of all units", func(s oee.Sums) time.Duration { return s.IdealTotal })
	lasting("Ideal time of good units", func(s oee.Sums) time.Duration { return s.IdealGood })
	figure("Availability", "run ÷ planned", (*oee.Result).Availability)
	figure("Performance", "ideal ÷ run", (*oee.Result).Performance)
	figure("Quality", "ideal of good ÷ ideal", (*oee.Result).Quality)
	figure("Quality by units", "good ÷ units", (*oee.Result).QualityUnits)
	figure("OEE", "ideal of good ÷ planned", (*oee.Result).OEE)
	r.products(&t, results)
	put("Revision", "", func(x oee.Result) string { return grouped(decimal(x.Revision, 1)) })
	return t
}

// products adds a line per product, if there are several.
func (r *Report) products(t *inputs, results []oee.Result) {
	var products []string
	for _, x := range results {
		for _, o := range x.Outputs {
			if !slices.Contains(products, o.Product) {
				products = append(products, o.Product)
			}
		}
	}
	if len(products) < 2 {
		return
	}
	slices.Sort(products)
	for i, product := range products {
		if i == maxProducts {
			t.Rows = append(t.Rows, inputRow{Name: plural(int64(len(products)-i), "further product"), Values: make([]string, len(results))})
			break
		}
		row := inputRow{Name: "Good of " + shown(product)}
		if product == "" {
			row.Name = "Good, product not said"
		}
		for _, x := range results {
			value := dash
			for _, o := range x.Outputs {
				if o.Product == product {
					value = units(o.Good) + " of " + units(o.Total)
				}
			}
			row.Values = append(row.Values, value)
		}
		t.Rows = append(t.Rows, row)
	}
}
