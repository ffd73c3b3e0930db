package opentravel

import "strings"

// The versions of SOAP in Message.SOAP.
const (
	SOAP11 = "1.1"
	SOAP12 = "1.2"
)

// section is a part of a document: of a plain one all is body.
type section uint8

const (
	inEnvelope section = iota // Envelope, Header and Body themselves, and what is beside them
	inHeader
	inBody
)

// envelope follows a scanner through a SOAP envelope, or a plain document.
type envelope struct {
	is      bool   // the root is an Envelope
	version string // by its namespace; empty: plain, or a namespace that is not SOAP's
	section section
}

// enter places the element that the scanner has just started: its section, and
// its level there (0: the message's root, or a header's own child).
func (e *envelope) enter(s *scanner) (section, int) {
	level := s.depth - 1
	if level == 0 {
		e.is = string(s.local(0)) == "Envelope"
		e.section = inBody
		if e.is {
			e.version = soapVersion(s)
			e.section = inEnvelope
		}
	}
	if !e.is {
		return inBody, level
	}
	if level == 1 {
		switch string(s.local(1)) {
		case "Header":
			e.section = inHeader
		case "Body":
			e.section = inBody
		default:
			e.section = inEnvelope
		}
	}
	if level < 2 {
		return inEnvelope, level
	}
	return e.section, level - 2
}

// soapVersion resolves the prefix of the root that was just started.
func soapVersion(s *scanner) string {
	root := &s.open[0]
	declares := "xmlns"
	if root.local != root.name.start {
		declares = "xmlns:" + string(s.text[root.name.start:root.local-1])
	}
	for i := range s.attributes {
		if string(s.slice(s.attribute[i].name)) != declares {
			continue
		}
		switch namespace := string(appendText(nil, s.slice(s.attribute[i].value), true)); {
		case strings.HasPrefix(namespace, "http://schemas.xmlsoap.org/soap/envelope"):
			return SOAP11
		case strings.HasPrefix(namespace, "http://www.w3.org/2003/05/soap-envelope"),
			strings.HasPrefix(namespace, "http://www.w3.org/2001/12/soap-envelope"):
			return SOAP12
		}
	}
	return ""
}
