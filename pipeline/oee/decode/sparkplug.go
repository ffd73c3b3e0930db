package decode

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/shardline/shardline/pipeline/oee"
)

// maxAliases bounds what births say, of all nodes of an input: beyond any
// plant's metrics.
const maxAliases = 1 << 20

// The values of a message, by their index. Payload and metrics may also stand
// at the top.
const (
	messageTopic = iota
	messagePayload
	messageTime
	messageMetrics
	messageCount
)

// The values of a metric, by their index.
const (
	metricName = iota
	metricAlias
	metricTime
	metricNull
	metricNull2
	metricValue
	metricCount = metricValue + len(metricValues)
)

// metricValues are what a value is called, by the encoders of the field.
var metricValues = [...]string{"value", "intValue", "longValue", "floatValue", "doubleValue", "booleanValue", "stringValue",
	"int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value"}

// messages are Sparkplug B messages as JSON. The device is the machine, or the
// edge node where there is no device.
type messages struct {
	top, within *branch
	metric      *branch
	found       [messageCount]raw
	value       [metricCount]raw
	fields      map[string]int // by metric name
	nodes       map[string]*node
	aliases     int // of all nodes
}

// node is an edge node, as its births have told.
type node struct {
	names   map[string]string // of metrics, by their alias
	devices map[string]string // the machines, by device; the node's own is ""
	session string            // bdSeq of its birth; empty: not said
}

func newMessages(f Fields) (*messages, error) {
	m := &messages{fields: make(map[string]int), nodes: make(map[string]*node)}
	for i, name := range f.list() {
		switch {
		case name == "":
			continue
		case i == fieldMachine || i == fieldTime || i == fieldID:
			return nil, errors.New("machine, time and id are the message's own")
		}
		m.fields[name] = i
	}
	var err error
	if m.top, err = places([]string{"/topic", "/payload", "/timestamp", "/metrics"}); err != nil {
		return nil, err
	}
	if m.within, err = places([]string{"", "", "/timestamp", "/metrics"}); err != nil {
		return nil, err
	}
	pointers := []string{"/name", "/alias", "/timestamp", "/isNull", "/is_null"}
	for _, name := range metricValues {
		pointers = append(pointers, "/"+name)
	}
	m.metric, err = places(pointers)
	return m, err
}

func (m *messages) read(object raw, to *output) error {
	clear(m.found[:])
	m.top.read(object, m.found[:])
	text, ok := m.found[messageTopic].text()
	if !ok {
		return wrong("/topic", "it is missing: a rule on the way must add it, as topic() of AWS IoT does")
	}
	topic := string(text)
	parts := strings.Split(topic, "/")
	if parts[0] == "spBv1.0" && len(parts) == 3 && parts[1] == "STATE" || parts[0] == "STATE" {
		to.batch.Left++
		return nil
	}
	if len(parts) < 4 || len(parts) > 5 || parts[0] != "spBv1.0" || parts[3] == "" {
		return wrong("/topic", "%s is not spBv1.0/GROUP/TYPE/NODE or spBv1.0/GROUP/TYPE/NODE/DEVICE", shown(text))
	}
	kind, name, device := parts[2], parts[1]+"/"+parts[3], ""
	if len(parts) == 5 {
		device = parts[4]
	}
	if strings.HasPrefix(kind, "D") != (device != "") && kind != "NCMD" && kind != "DCMD" {
		return wrong("/topic", "%s: a message of a device names it, and no other", shown(text))
	}
	if payload := m.found[messagePayload]; payload.present() && payload[0] == '{' {
		m.within.read(payload, m.found[:])
	}
	machine := to.machineAt(name, device)
	switch kind {
	case "NBIRTH", "DBIRTH":
		return m.birth(to, name, device, machine, kind == "NBIRTH")
	case "NDATA", "DDATA":
		return m.data(to, name, machine)
	case "NDEATH", "DDEATH":
		return m.death(to, name, device, machine)
	case "NCMD", "DCMD":
		to.batch.Left++
		return nil
	}
	return wrong("/topic", "%s is no type of message of Sparkplug B", shown([]byte(kind)))
}

// machineAt is what the device is called, by its full name or its own.
func (o *output) machineAt(node, device string) string {
	full, own := node, node[strings.IndexByte(node, '/')+1:]
	if device != "" {
		full, own = node+"/"+device, device
	}
	if name, ok := o.names.machines[full]; ok {
		return name
	}
	return o.names.machine([]byte(own))
}

// birth keeps what a birth names, for the messages that follow, and reads its
// values like data. That of a node begins anew for all its devices.
func (m *messages) birth(to *output, name, device, machine string, whole bool) error {
	born := m.nodes[name]
	if born == nil || whole {
		born = &node{names: make(map[string]string), devices: make(map[string]string)}
	}
	added := make(map[string]string)
	err := m.each(func() error {
		alias, aliased := m.value[metricAlias].text()
		text, named := m.value[metricName].text()
		switch {
		case !named:
			return wrong("/metrics", "a metric of a birth has no name")
		case string(text) == "bdSeq" && whole:
			session, _ := m.metricValue().text()
			born.session = string(session)
		case aliased:
			added[string(alias)] = string(text)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := m.values(to, machine, func(alias string) (string, bool) { n, ok := added[alias]; return n, ok }); err != nil {
		return err
	}
	count := m.aliases
	if before := m.nodes[name]; before != nil && before != born {
		count -= len(before.names)
	}
	if count+len(added) > maxAliases {
		return wrong("/metrics", "births name more than %d aliases", maxAliases)
	}
	count -= len(born.names)
	for alias, metric := range added {
		born.names[alias] = metric
	}
	born.devices[device] = machine
	m.nodes[name], m.aliases = born, count+len(born.names)
	return nil
}

func (m *messages) data(to *output, name, machine string) error {
	from := m.nodes[name]
	return m.values(to, machine, func(alias string) (string, bool) {
		if from == nil {
			return "", false
		}
		metric, ok := from.names[alias]
		return metric, ok
	})
}

// death says that nobody knows the state any more: of a device, or of a node
// and all its devices. That of a node is the broker's to say, with the time of
// its connection: it counts from when it came into the stream.
func (m *messages) death(to *output, name, device, machine string) error {
	at := to.record.Arrival
	if device != "" && m.found[messageTime].present() {
		var err error
		if at, err = to.at(m.found[messageTime], "/timestamp"); err != nil {
			return err
		}
	}
	if at.IsZero() {
		return wrong("", "a death has no time of its own, and when it came into the stream is not known")
	}
	from := m.nodes[name]
	if device != "" || from == nil {
		to.event(machine, at).State = NoData
		return nil
	}
	session := ""
	err := m.each(func() error {
		if text, _ := m.value[metricName].text(); string(text) == "bdSeq" {
			value, _ := m.metricValue().text()
			session = string(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if session != "" && from.session != "" && session != from.session {
		to.batch.Left++ // of a connection before the one that lives
		return nil
	}
	if _, ok := from.devices[""]; !ok {
		from.devices[""] = machine
	}
	for _, device := range sorted(from.devices) {
		to.event(from.devices[device], at).State = NoData
	}
	return nil
}

// each calls do for every metric, with its values in m.value.
func (m *messages) each(do func() error) error {
	metrics := m.found[messageMetrics]
	if !metrics.present() {
		return nil
	}
	err := m.metric.each(metrics, m.value[:], do)
	if err == errNoList {
		return wrong("/metrics", "%v", err)
	}
	return err
}

// values makes events of metrics: one for those of one time that follow each
// other.
func (m *messages) values(to *output, machine string, aliased func(string) (string, bool)) error {
	var event *oee.Event
	return m.each(func() error {
		name, ok := m.value[metricName].text()
		if !ok || len(name) == 0 {
			alias, ok := m.value[metricAlias].text()
			if !ok {
				return wrong("/metrics", "a metric has neither name nor alias")
			}
			metric, ok := aliased(string(alias))
			if !ok {
				return wrong("/metrics", "alias %s: no birth message was read that names it", shown(alias))
			}
			name = []byte(metric)
		}
		field, asked := m.fields[string(name)]
		if !asked {
			to.batch.Left++
			return nil
		}
		stamp, where := m.value[metricTime], "/metrics/timestamp"
		if !stamp.present() {
			stamp, where = m.found[messageTime], "/timestamp"
		}
		at, err := to.at(stamp, where)
		if err != nil {
			return err
		}
		v := m.metricValue()
		if v == nil && field != fieldState {
			to.batch.Left++
			return nil
		}
		if event == nil || !event.Time.Equal(at) {
			event = to.event(machine, at)
		}
		if v == nil {
			event.State = NoData
			return nil
		}
		return to.set(event, field, v, string(name))
	})
}

// metricValue is the value of the metric at hand; nil: it is null.
func (m *messages) metricValue() raw {
	for _, i := range []int{metricNull, metricNull2} {
		if bytes.Equal(m.value[i], []byte("true")) {
			return nil
		}
	}
	for _, v := range m.value[metricValue:] {
		if v.present() {
			return v
		}
	}
	return nil
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
