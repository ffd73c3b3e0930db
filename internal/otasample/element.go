package otasample

import (
	"strconv"
	"strings"
	"time"
)

func (m *message) add(parts ...string) {
	for _, part := range parts {
		m.body = append(m.body, part...)
	}
}

// room says whether an element of about that many bytes still fits the size.
func (m *message) room(bytes int) bool {
	return len(m.body)+bytes/2 < m.target
}

// container opens the element that holds the hotel's code, a line of its own.
func (m *message) container(name, hotel string) {
	m.open(" ", name, "HotelCode", hotel)
	m.add("\n")
}

// period is an empty element with a Start and an End some days later.
func (m *message) period(name string, attributes ...string) {
	start := m.stamp.AddDate(0, 0, m.random.IntN(365))
	m.tag("", name, attributes)
	m.add(` Start="`)
	m.body = start.AppendFormat(m.body, dateLayout)
	m.add(`" End="`)
	m.body = start.Add(time.Duration(1+m.random.IntN(21))*24*time.Hour).AppendFormat(m.body, dateLayout)
	m.add(`"/>`)
}

func (m *message) open(indent, name string, attributes ...string) {
	m.tag(indent, name, attributes)
	m.add(">")
}

func (m *message) empty(name string, attributes ...string) {
	m.tag("", name, attributes)
	m.add("/>")
}

func (m *message) text(name, value string) {
	m.open("", name)
	m.escaped(value)
	m.end("", name, "")
}

func (m *message) end(indent, name, after string) {
	m.add(indent, "</", m.prefix, name, ">", after)
}

// tag begins a start tag; attributes are names and values in turn.
func (m *message) tag(indent, name string, attributes []string) {
	m.add(indent, "<", m.prefix, name)
	for i := 0; i < len(attributes); i += 2 {
		m.add(" ", attributes[i], `="`)
		m.escaped(attributes[i+1])
		m.add(`"`)
	}
}

var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func (m *message) escaped(value string) {
	if strings.ContainsAny(value, `&<>"`) {
		value = escapes.Replace(value)
	}
	m.add(value)
}

func (m *message) pick(of []string) string { return of[m.random.IntN(len(of))] }

func (m *message) number(low, high int) string {
	return strconv.Itoa(low + m.random.IntN(high-low+1))
}

func (m *message) amount() string {
	return m.number(40, 480) + "." + m.pick([]string{"00", "50", "90"})
}
