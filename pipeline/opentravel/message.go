package opentravel

import (
	"bytes"
	"cmp"
	"slices"
)

// Message is what one scan tells of a message.
type Message struct {
	// Type is the local name of the root, or of the first child of a SOAP body:
	// OTA_HotelAvailNotifRQ, HotelAvailNotif, … An empty body's is Envelope.
	Type string
	// HotelCodes are the hotels that the message is about: distinct, not empty,
	// in document order, leading zeros kept. A message may name none.
	HotelCodes []string
	// FoundAt says where: element/@HotelCode or "HotelCode element", distinct,
	// in document order. HDR:… is one in the SOAP header, which does not count.
	FoundAt []string
	// SOAP is the version of the envelope: SOAP11, SOAP12 or empty.
	SOAP string
	// Action is the header's wsa:Action. SOAP 1.1 sends it as SOAPAction, in
	// quotes; with SOAP 1.2 it is in ContentType already. Empty: none, or one
	// that no HTTP header can carry.
	Action string
	// ID is what its sender calls the message, to tell it from others: the
	// header's wsa:MessageID, else the EchoToken of the message's root. Empty:
	// none. Not every sender gives each message its own.
	ID string
	// ContentType is the media type that follows from the message, with the
	// charset that its bytes are in.
	ContentType string
}

// Hotel is the one hotel of the message, or empty when it names none or several.
func (m Message) Hotel() string {
	if len(m.HotelCodes) == 1 {
		return m.HotelCodes[0]
	}
	return ""
}

// maxMessage keeps every position, also in a transcoded text, within 32 bits.
const maxMessage = 1 << 30

// Scan reads a message of at most 1 GiB in one pass. The error is a
// *SyntaxError. Data is not kept.
func Scan(data []byte) (Message, error) {
	if len(data) > maxMessage {
		return Message{}, syntaxError(nil, 0, "larger than 1 GiB")
	}
	input, failure := decode(data)
	if failure != nil {
		return Message{}, failure
	}
	r := reader{scanner: scanner{text: input.text, pos: input.start}}
	if failure := r.read(); failure != nil {
		return Message{}, failure
	}
	m := Message{
		Type:       r.messageType,
		HotelCodes: r.codes.values,
		FoundAt:    r.places,
		SOAP:       r.envelope.version,
		Action:     r.action,
		ID:         cmp.Or(r.messageID, r.echoToken),
	}
	if r.headerPlaces != nil {
		m.FoundAt = append(r.headerPlaces, r.places...)
	}
	m.ContentType = contentType(m.SOAP, input.charset, m.Action)
	return m, nil
}

// reader follows one scan and keeps what Message tells.
type reader struct {
	scanner  scanner
	envelope envelope

	messageType string
	homes       []home

	best         int // rank of the homes that codes and places hold
	codes        distinct
	places       []string
	headerPlaces []string
	action       string
	messageID    string
	echoToken    string

	// Text of the element that is read as a value: a HotelCode, an Action or a
	// MessageID.
	value      []byte
	valueDepth int // of that element; 0: none
	valueOf    valueKind
}

type valueKind uint8

const (
	codeValue valueKind = iota
	headerCodeValue
	actionValue
	idValue
)

func (r *reader) read() *SyntaxError {
	s := &r.scanner
	r.best = rankForeign
	for {
		switch s.next() {
		case tokenStart:
			r.start()
		case tokenText:
			if s.depth == r.valueDepth {
				r.appendValue()
			}
		case tokenEnd:
			if r.valueDepth > s.depth {
				r.endValue()
			}
		case tokenFailure:
			return s.failure()
		case tokenDone:
			if r.messageType == "" {
				r.messageType = string(s.local(0))
			}
			return nil
		}
	}
}

// start looks at a start tag.
func (r *reader) start() {
	s := &r.scanner
	in, level := r.envelope.enter(s)
	if in == inEnvelope {
		return
	}
	local := s.local(s.depth - 1)
	if in == inBody && level == 0 && r.messageType == "" {
		r.messageType, r.homes = messageTypes.of(local)
		r.echoToken = r.attribute("EchoToken")
	}
	if string(local) == "HotelCode" {
		if in == inBody {
			r.beginValue(codeValue)
		} else {
			r.beginValue(headerCodeValue)
		}
	} else if in == inHeader && level == 0 && string(local) == "Action" {
		r.beginValue(actionValue)
	} else if in == inHeader && level == 0 && string(local) == "MessageID" {
		r.beginValue(idValue)
	}
	found := -1
	for i := range s.attributes {
		a := &s.attribute[i]
		if a.name.end-a.local != uint32(len("HotelCode")) || string(s.attributeLocal(i)) != "HotelCode" {
			continue
		}
		if s.prefixed(i) {
			if found >= 0 || string(s.text[a.name.start:a.local]) == "xmlns:" {
				continue
			}
		}
		found = i
	}
	if found < 0 {
		return
	}
	code := r.attributeValue(found)
	if in == inHeader {
		r.headerPlaces = appendDistinct(r.headerPlaces, "HDR:"+place(local))
		return
	}
	r.code(code, s.depth-1, level, false)
}

// attribute is the value of the attribute with a local name of the start tag,
// the first of several; empty: there is none.
func (r *reader) attribute(local string) string {
	s := &r.scanner
	for i := range s.attributes {
		a := &s.attribute[i]
		if string(s.attributeLocal(i)) == local && !(s.prefixed(i) && string(s.text[a.name.start:a.local]) == "xmlns:") {
			return string(trimSpace(r.attributeValue(i)))
		}
	}
	return ""
}

// attributeValue is the value of attribute i, perhaps a part of the input.
func (r *reader) attributeValue(i int) []byte {
	value := r.scanner.slice(r.scanner.attribute[i].value)
	if bytes.IndexByte(value, '&') >= 0 || bytes.ContainsAny(value, "\r\n\t") {
		return appendText(nil, value, true)
	}
	return value
}

// code takes a hotel code of the element at depth (0: the document's root) and
// level (0: the message's root).
func (r *reader) code(code []byte, depth, level int, element bool) {
	s := &r.scanner
	code = trimSpace(code)
	if len(code) == 0 {
		return
	}
	for around := depth - level; around < depth; around++ {
		if foreign[string(s.local(around))] {
			return
		}
	}
	local := s.local(depth)
	var parent []byte
	if level > 0 {
		parent = s.local(depth - 1)
	}
	rank := rank(r.homes, local, parent, level)
	if element && rank >= rankUnknown && rank < rankForeign {
		rank = rankKnown + level // <HotelCode> is a known home, whatever is around it
	}
	if rank > r.best || rank == rankForeign {
		return
	}
	if rank < r.best {
		r.best = rank
		r.codes = distinct{}
		r.places = r.places[:0]
	}
	r.codes.add(code)
	if element {
		r.places = appendDistinct(r.places, elementPlace)
	} else {
		r.places = appendDistinct(r.places, place(local))
	}
}

const elementPlace = "HotelCode element"

// place is how an element with @HotelCode is reported.
func place(local []byte) string {
	if known, ok := places[string(local)]; ok {
		return known
	}
	return string(local) + "/@HotelCode"
}

func appendDistinct(list []string, value string) []string {
	if slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}

func (r *reader) beginValue(kind valueKind) {
	if r.valueDepth > 0 {
		return // inside another: its own direct text is what counts
	}
	r.valueOf, r.valueDepth = kind, r.scanner.depth
	r.value = r.value[:0]
	r.scanner.wantText = true
}

func (r *reader) appendValue() {
	s := &r.scanner
	if s.cdata {
		r.value = append(r.value, s.slice(s.data)...)
		return
	}
	r.value = appendText(r.value, s.slice(s.data), false)
}

// endValue takes the text of the element that was just closed.
func (r *reader) endValue() {
	s := &r.scanner
	depth := r.valueDepth - 1 // of the element
	r.valueDepth, s.wantText = 0, false
	switch r.valueOf {
	case actionValue:
		if r.action == "" {
			r.action = headerSafe(trimSpace(r.value))
		}
	case idValue:
		if r.messageID == "" {
			r.messageID = string(trimSpace(r.value))
		}
	case headerCodeValue:
		if len(trimSpace(r.value)) > 0 {
			r.headerPlaces = appendDistinct(r.headerPlaces, "HDR:"+elementPlace)
		}
	case codeValue:
		level := depth
		if r.envelope.is {
			level -= 2
		}
		if level > 0 { // the home is the element around it
			depth--
			level--
		}
		r.code(r.value, depth, level, true)
	}
}

func trimSpace(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

// distinct is a list of different strings in the order of their first sight.
type distinct struct {
	values []string
	seen   map[string]bool // only for lists that are long
}

func (d *distinct) add(value []byte) {
	const long = 16
	if len(d.values) < long {
		for _, v := range d.values {
			if v == string(value) {
				return
			}
		}
		d.values = append(d.values, string(value))
		return
	}
	if d.seen == nil {
		d.seen = make(map[string]bool, 4*long)
		for _, v := range d.values {
			d.seen[v] = true
		}
	}
	if !d.seen[string(value)] {
		d.seen[string(value)] = true
		d.values = append(d.values, string(value))
	}
}
