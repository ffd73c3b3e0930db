package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shardline/shardline/pipeline/jsonpointer"
)

// What inputs may know of events and rows, and what they must.
var (
	eventFields = []string{"machine", "time", "state", "total", "good", "rejected", "product", "reason", "id"}
	saysFields  = []string{"state", "total", "good", "rejected"} // at least one
	tableFields = map[string]struct{ required, more []string }{
		"schedule":   {[]string{"machine", "start"}, []string{"end", "product"}},
		"ideal_rate": {nil, []string{"per_minute", "cycle_s", "machine", "product", "start"}},
		"quality":    {[]string{"machine", "time"}, []string{"good", "rejected", "product"}},
		"production": {[]string{"machine", "time", "total"}, []string{"good", "rejected", "product"}},
		"downtime":   {[]string{"machine"}, []string{"start", "end", "minutes", "reason"}},
	}
)

func (l *loading) viewInputs(c *Config, path string, v *View) {
	if len(v.Inputs) == 0 {
		l.addf(path, "at least one input is required")
	}
	taken := map[string]string{}
	for i := range v.Inputs {
		in, at := &v.Inputs[i], fmt.Sprintf("%s[%d]", path, i)
		switch {
		case l.reported[at+".source"]:
		case c.source(in.Source) == nil && !slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Name == "" }):
			var known []string
			for j := range c.Sources {
				if at := fmt.Sprintf("sources[%d].name", j); l.names(at) && !l.places[at].n.expanded() {
					known = append(known, c.Sources[j].Name)
				}
			}
			l.addf(at+".source", "there is no source named %s%s", l.found(at+".source"), l.nearest(at+".source", known))
		case taken[in.Source] != "":
			l.addf(at+".source", "it is read by %s already: a view reads a source as one input", l.where(taken[in.Source], at))
		default:
			taken[in.Source] = at
		}
		if in.TimeZone != "" {
			l.zone(at+".time_zone", in.TimeZone)
		}
		if in.Format == FormatDMS {
			l.inputTables(at, in)
		} else {
			l.inputFields(at, in)
		}
		for _, name := range sorted(in.Machines) {
			if in.Machines[name] == "" {
				l.addf(join(at+".machines", name), "it is empty: a machine has a name")
			}
		}
	}
}

// nearest is the end of a message about the name at path.
func (l *loading) nearest(path string, known []string) string {
	if site, ok := l.places[path]; ok {
		return site.d.suggest(site.n, known)
	}
	return ""
}

// fieldNames checks the names of fields; there is a problem when it says false.
func (l *loading) fieldNames(path string, fields map[string]string, allowed []string) {
	for _, name := range sorted(fields) {
		switch at := join(path, name); {
		case !slices.Contains(allowed, name):
			l.addf(at, "it is no field here; allowed: %s%s", strings.Join(allowed, ", "), didYouMean(name, allowed))
		case fields[name] == "":
			l.addf(at, "it is empty: leave it out where there is none")
		}
	}
}

func (l *loading) inputFields(path string, in *ViewInput) {
	if len(in.Tables) > 0 {
		l.addf(path+".tables", "it does not belong to format: %s, but to %s", in.Format, FormatDMS)
	}
	if in.BeforeImage != "" && l.names(path+".before_image") {
		l.addf(path+".before_image", "it does not belong to format: %s, but to %s", in.Format, FormatDMS)
	}
	at := path + ".fields"
	allowed, required := eventFields, []string{"machine", "time"}
	if in.Format != FormatJSON {
		allowed, required = append(slices.Clone(saysFields), "product", "reason"), nil
	}
	l.fieldNames(at, in.Fields, allowed)
	for _, name := range required {
		if _, ok := in.Fields[name]; !ok {
			l.addf(join(at, name), "it is required with format: %s", in.Format)
		}
	}
	if !slices.ContainsFunc(saysFields, func(name string) bool { return in.Fields[name] != "" }) {
		l.addf(at, "at least one of %s is required", strings.Join(saysFields, ", "))
	}
	taken := map[string]string{}
	for _, name := range sorted(in.Fields) {
		value, here := in.Fields[name], join(at, name)
		if value == "" || l.reported[here] {
			continue
		}
		if in.Format == FormatJSON {
			if _, err := jsonpointer.Parse(value); err != nil {
				l.addf(here, "%s is not a JSON pointer such as /machine/id", l.found(here))
				continue
			}
		}
		for other, first := range taken {
			if other == value || in.Format == FormatJSON && (strings.HasPrefix(value, other+"/") || strings.HasPrefix(other, value+"/")) {
				l.addf(here, "%s leads to what %s has, or into it", l.found(here), first)
				break
			}
		}
		taken[value] = name
	}
}

func (l *loading) inputTables(path string, in *ViewInput) {
	if len(in.Fields) > 0 {
		l.addf(path+".fields", "it does not belong to format: %s: columns stand in tables", FormatDMS)
	}
	if len(in.Tables) == 0 {
		l.addf(path+".tables", "at least one table is required with format: %s", FormatDMS)
	}
	for _, name := range sorted(in.Tables) {
		table, at := in.Tables[name], join(path+".tables", name)
		if schema, rest, ok := strings.Cut(name, "."); !ok || schema == "" || rest == "" {
			l.addf(at, "it is not schema.table")
		}
		known, ok := tableFields[table.Kind]
		if !ok {
			continue // reported with the kind
		}
		fields := at + ".fields"
		l.fieldNames(fields, table.Fields, append(slices.Clone(known.required), known.more...))
		has := func(names ...string) (n int) {
			for _, name := range names {
				if table.Fields[name] != "" {
					n++
				}
			}
			return n
		}
		for _, name := range known.required {
			if _, ok := table.Fields[name]; !ok {
				l.addf(join(fields, name), "it is required with kind: %s", table.Kind)
			}
		}
		switch {
		case table.Kind == "quality" && has("good", "rejected") == 0:
			l.addf(fields, "good or rejected is required with kind: quality")
		case table.Kind == "ideal_rate" && has("per_minute", "cycle_s") != 1:
			l.addf(fields, "one of per_minute and cycle_s is required with kind: ideal_rate")
		case table.Kind == "downtime" && has("start", "end", "minutes") != 2:
			l.addf(fields, "two of start, end and minutes are required with kind: downtime")
		}
		for j, column := range table.Key {
			if column == "" || slices.Contains(table.Key[:j], column) {
				l.addf(fmt.Sprintf("%s.key[%d]", at, j), "%s is no further column", l.found(fmt.Sprintf("%s.key[%d]", at, j)))
			}
		}
	}
}
