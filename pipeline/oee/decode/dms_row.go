package decode

import (
	"strconv"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// key is what tells the row apart.
func (t *table) key(to *output, values []raw, row *oee.Row, recordKey string) (string, error) {
	if len(t.keys) == 0 {
		if recordKey != "" {
			return recordKey, nil
		}
		at := row.Time
		if at.IsZero() {
			at = row.Start
		}
		if at.IsZero() {
			at = row.End
		}
		instant := ""
		if !at.IsZero() {
			instant = strconv.FormatInt(at.UnixNano(), 10)
		}
		return joined(row.Machine, instant, row.Product), nil
	}
	parts := make([]string, len(t.keys))
	for i, k := range t.keys {
		v := values[k]
		text, ok := v.text()
		if !ok && v.present() {
			text, ok = v, true // an object, as it stands
		}
		if !ok {
			return "", wrong(t.names[k], "it is missing, and is of the key")
		}
		parts[i] = string(text)
	}
	return joined(parts...), nil
}

// joined is texts as one, from which each can be told.
func joined(parts ...string) string {
	for i, part := range parts {
		if strings.ContainsAny(part, `\|`) {
			parts[i] = strings.NewReplacer(`\`, `\\`, `|`, `\|`).Replace(part)
		}
	}
	return strings.Join(parts, "|")
}

// row reads what a row of the table's kind says.
func (t *table) row(to *output, values []raw) (oee.Row, error) {
	row := oee.Row{Kind: t.kind, Table: t.name}
	if err := t.natural(to, values, &row); err != nil {
		return row, err
	}
	var err error
	switch t.kind {
	case oee.Quality, oee.Production:
		err = t.units(values, &row)
	case oee.IdealRate:
		err = t.rate(values, &row)
	case oee.Downtime:
		row.Reason, err = to.label(values[columnReason], t.names[columnReason])
	}
	if err == nil && !row.End.IsZero() && row.End.Before(row.Start) {
		err = wrong(t.names[columnEnd], "%s is before the start", shown(values[columnEnd]))
	}
	return row, err
}

// natural reads whom and when a row is about.
func (t *table) natural(to *output, values []raw, row *oee.Row) (err error) {
	if t.kind == oee.IdealRate {
		row.Machine, err = to.maybeMachine(values[columnMachine], t.names[columnMachine])
	} else {
		row.Machine, err = to.machine(values[columnMachine], t.names[columnMachine])
	}
	if err != nil {
		return err
	}
	if row.Product, err = to.label(values[columnProduct], t.names[columnProduct]); err != nil {
		return err
	}
	switch t.kind {
	case oee.Quality, oee.Production:
		row.Time, err = to.at(values[columnTime], t.names[columnTime])
		return err
	case oee.Schedule:
		if row.Start, err = to.at(values[columnStart], t.names[columnStart]); err != nil {
			return err
		}
	default:
		if row.Start, err = to.maybeAt(values[columnStart], t.names[columnStart]); err != nil {
			return err
		}
	}
	if row.End, err = to.maybeAt(values[columnEnd], t.names[columnEnd]); err != nil {
		return err
	}
	if t.kind == oee.Downtime {
		return t.stretch(values, row)
	}
	return nil
}

// stretch is from when to when a stop was: two of start, end and minutes.
func (t *table) stretch(values []raw, row *oee.Row) error {
	minutes, ok, err := length(values[columnMinutes], t.names[columnMinutes], time.Minute)
	switch {
	case err != nil:
		return err
	case ok && row.Start.IsZero() && !row.End.IsZero():
		row.Start = row.End.Add(-minutes)
	case ok && row.End.IsZero() && !row.Start.IsZero():
		row.End = row.Start.Add(minutes)
	case row.Start.IsZero():
		column := t.names[columnStart]
		if column == "" {
			column = t.names[columnEnd]
		}
		return wrong(column, "it is missing")
	}
	return nil
}

func (t *table) units(values []raw, row *oee.Row) (err error) {
	for _, u := range []struct {
		column int
		value  *oee.Reading
	}{{columnTotal, &row.Total}, {columnGood, &row.Good}, {columnRejected, &row.Rejected}} {
		if *u.value, err = reading(values[u.column], t.names[u.column]); err != nil {
			return err
		}
	}
	if !row.Total.Valid && !row.Good.Valid && !row.Rejected.Valid {
		return wrong(t.names[columnGood], "no units are said")
	}
	return nil
}

func (t *table) rate(values []raw, row *oee.Row) error {
	column := columnPerMinute
	if t.names[columnPerMinute] == "" {
		column = columnCycle
	}
	v, name := values[column], t.names[column]
	if !v.present() {
		return missing(v, name)
	}
	if column == columnCycle {
		cycle, _, err := length(v, name, time.Second)
		row.Rate = oee.Cycle(cycle)
		if err != nil {
			return err
		}
	} else {
		units, err := reading(v, name)
		if err != nil {
			return err
		}
		row.Rate = oee.PerMinute(units.Units)
	}
	if !row.Rate.Valid() {
		return wrong(name, "%s is no rate: it is 0", shown(v))
	}
	return nil
}
