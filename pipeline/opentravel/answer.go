package opentravel

import (
	"bytes"
	"fmt"
	"strings"
)

// Kind is what an answer's body is.
type Kind uint8

const (
	// OtherAnswer is no OpenTravel answer: no XML, or neither Success nor Errors.
	OtherAnswer Kind = iota
	// EmptyAnswer has no body, or white space alone.
	EmptyAnswer
	// SuccessAnswer has Success and no Errors.
	SuccessAnswer
	// ErrorsAnswer has Errors, whatever stands beside them.
	ErrorsAnswer
	// FaultAnswer is a SOAP fault.
	FaultAnswer
)

func (k Kind) String() string {
	switch k {
	case EmptyAnswer:
		return "empty"
	case SuccessAnswer:
		return "success"
	case ErrorsAnswer:
		return "errors"
	case FaultAnswer:
		return "fault"
	default:
		return "other"
	}
}

// Answer is what a receiver's body says about the message that it answers.
// Code, ErrorType and Text come from outside: they are printable, on one line
// and short.
type Answer struct {
	Kind  Kind
	Class Class
	// Code and ErrorType are @Code and @Type of the first error of the deciding
	// class, or the code of a SOAP fault.
	Code, ErrorType string
	// Text is that error's or fault's own words: 300 bytes at most.
	Text string
	// Warnings counts the Warning elements: the receiver took the message, but
	// perhaps not all of it.
	Warnings int
	// Notes are the first of them, maxNotes at most: each its record, type, code
	// and words, printable, on one line and short.
	Notes []string
	// Reason says in one line why the class is what it is.
	Reason string
}

// ReadAnswer classifies a body with the default codes and types.
func ReadAnswer(data []byte, truncated bool) Answer {
	return Classes{}.ReadAnswer(data, truncated)
}

// ReadAnswer classifies a body. Truncated says that data is only the first part
// of it. What was read before the end, or before the XML broke, decides: Errors
// with at least one error, a fault with a code, or Success. Errors win over
// Success, and so does a fault. Without any of them the answer is Unclear.
func (c Classes) ReadAnswer(data []byte, truncated bool) Answer {
	if len(bytes.Trim(bytes.TrimPrefix(data, utf8BOM), " \t\r\n")) == 0 {
		if truncated {
			return Answer{Reason: "no part of the answer that tells anything was read"}
		}
		return Answer{Kind: EmptyAnswer, Reason: "empty answer: no Success"}
	}
	if truncated && len(data)%2 == 1 && len(data) > 1 && (data[0] == 0 || data[1] == 0 || data[0] >= 0xFE) {
		data = data[:len(data)-1] // half a UTF-16 character
	}
	var broken *SyntaxError
	input, failure := decode(data)
	if failure != nil {
		// Broken characters do not hide a verdict that stands before them.
		broken = failure
		input = decoded{text: data[:min(len(data), maxMessage)]}
		input.start = skipSpace(input.text, 0)
		if _, after, failure := declaration(input.text, input.start); failure == nil {
			input.start = after
		}
	}
	r := answerReader{classes: c, scanner: scanner{text: input.text, pos: input.start, wantText: true}}
	if failure := r.read(); failure != nil && broken == nil {
		broken = failure
	}
	return r.answer(broken, truncated)
}

// answerReader follows a scan of an answer.
type answerReader struct {
	classes  Classes
	scanner  scanner
	envelope envelope

	root     string
	success  bool
	errors   bool // an Errors element, or an error, was seen
	fault    bool
	warnings int
	notes    []string

	found   bool // an error was read
	current answerError
	worst   answerError // the first error of the most urgent class

	// Of the fault: its codes from the outer to the inner, and its text.
	faultCodes []string
	faultText  string

	// Text of the element that is read as a value, cut at maxText.
	value      []byte
	valueDepth int
	valueOf    answerValue
}

// answerError is one error, complete when its start tag is: the rest is text.
type answerError struct {
	class           Class
	code, errorType string
	text            string
}

type answerValue uint8

const (
	successValue answerValue = iota
	errorValue
	faultCodeValue
	faultTextValue
)

// maxSuccessLevel is how far below the message's root Success counts, behind
// wrappers such as HotelAvailNotifResponse/HotelAvailNotifResult. Deeper ones
// are about single records.
const maxSuccessLevel = 3

// maxFaultCodes bounds the nested codes of a fault; two are usual.
const maxFaultCodes = 8

func (r *answerReader) read() *SyntaxError {
	s := &r.scanner
	for {
		switch s.next() {
		case tokenStart:
			r.start()
		case tokenText:
			if r.valueDepth > 0 && s.depth == r.valueDepth && len(r.value) < maxText {
				data := s.slice(s.data)
				data = data[:min(len(data), maxText)]
				if s.cdata {
					r.value = append(r.value, data...)
				} else {
					r.value = appendText(r.value, data, false)
				}
			}
		case tokenEnd:
			if r.valueDepth > s.depth {
				r.endValue()
			}
		case tokenFailure:
			if r.valueDepth > 0 && r.valueOf != successValue {
				r.endValue() // its text so far
			}
			return s.failure()
		case tokenDone:
			return nil
		}
	}
}

func (r *answerReader) start() {
	s := &r.scanner
	in, level := r.envelope.enter(s)
	if in != inBody {
		return
	}
	local := s.local(s.depth - 1)
	if level == 0 {
		if r.root == "" {
			r.root = printable(string(local), maxCode)
		}
		switch string(local) {
		case "Fault":
			r.fault = true
			return
		case "OTA_ErrorRS":
			r.beginError()
			return
		case "Errors":
			r.errors = true
		}
		return
	}
	parent := string(s.local(s.depth - 2))
	switch string(local) {
	case "Success":
		if level <= maxSuccessLevel {
			r.beginValue(successValue)
		}
	case "Errors":
		r.errors = true
	case "Error":
		if parent == "Errors" || level == 1 {
			r.beginError()
		}
	case "Warning":
		r.warnings++
		r.note()
	case "faultcode":
		if r.fault && parent == "Fault" {
			r.beginValue(faultCodeValue)
		}
	case "Value":
		if r.fault && (parent == "Code" || parent == "Subcode") {
			r.beginValue(faultCodeValue)
		}
	case "faultstring":
		if r.fault && parent == "Fault" {
			r.beginValue(faultTextValue)
		}
	case "Text":
		if r.fault && parent == "Reason" && r.faultText == "" {
			r.beginValue(faultTextValue)
		}
	}
}

// maxNotes bounds the warnings that are told in words.
const maxNotes = 5

// note keeps a warning's attributes.
func (r *answerReader) note() {
	if len(r.notes) == maxNotes {
		return
	}
	s := &r.scanner
	var parts []string
	for _, name := range []string{"RecordID", "Type", "Code", "ShortText"} {
		for i := range s.attributes {
			if string(s.attributeLocal(i)) != name || s.prefixed(i) {
				continue
			}
			raw := s.slice(s.attribute[i].value)
			raw = raw[:min(len(raw), 4*maxText)]
			parts = append(parts, name+" "+printable(string(appendText(nil, raw, true)), maxText/3))
		}
	}
	if len(parts) > 0 {
		r.notes = append(r.notes, strings.Join(parts, ", "))
	}
}

// beginError reads the start tag of an error.
func (r *answerReader) beginError() {
	s := &r.scanner
	r.errors = true
	r.current = answerError{}
	for i := range s.attributes {
		value := func(longest int) string {
			raw := s.slice(s.attribute[i].value)
			raw = raw[:min(len(raw), 4*maxText)]
			return printable(string(appendText(nil, raw, true)), longest)
		}
		switch string(s.attributeLocal(i)) {
		case "Code", "ErrorCode":
			r.current.code = value(maxCode)
		case "Type":
			if !s.prefixed(i) { // not xsi:type
				r.current.errorType = value(maxCode)
			}
		case "ShortText", "ErrorMessage":
			r.current.text = value(maxText)
		}
	}
	r.current.class = r.classes.of(r.current.code, r.current.errorType)
	r.beginValue(errorValue)
	if r.scanner.depth != r.valueDepth {
		r.keepError() // inside another value: its text is not read
	}
}

// keepError holds the error just read against the worst so far.
func (r *answerReader) keepError() {
	if !r.found || r.current.class.urgency() > r.worst.class.urgency() {
		r.worst = r.current
	}
	r.found = true
}

func (r *answerReader) beginValue(of answerValue) {
	if r.valueDepth > 0 {
		return
	}
	r.valueOf, r.valueDepth = of, r.scanner.depth
	r.value = r.value[:0]
}

func (r *answerReader) endValue() {
	r.valueDepth = 0
	text := printable(string(r.value), maxText)
	switch r.valueOf {
	case successValue:
		switch strings.ToLower(text) {
		case "false", "0", "no":
		default:
			r.success = true
		}
	case errorValue:
		switch {
		case r.current.text == "":
			r.current.text = text
		case text != "" && text != r.current.text:
			r.current.text = printable(r.current.text+": "+text, maxText)
		}
		r.keepError()
	case faultCodeValue:
		if len(r.faultCodes) < maxFaultCodes && text != "" {
			r.faultCodes = append(r.faultCodes, printable(text, maxCode))
		}
	case faultTextValue:
		r.faultText = text
	}
}

// answer draws the conclusion.
func (r *answerReader) answer(broken *SyntaxError, truncated bool) Answer {
	a := Answer{Warnings: r.warnings, Notes: r.notes}
	switch {
	case r.fault:
		a.Kind = FaultAnswer
		a.Class, a.Code = r.faultClass()
		a.Text = r.faultText
		// Errors in the fault's detail are more exact, unless nothing passes.
		if r.found && a.Class != Hold {
			a.Class, a.Code, a.ErrorType = r.worst.class, r.worst.code, r.worst.errorType
			if r.worst.text != "" {
				a.Text = r.worst.text
			}
		}
		a.Reason = "SOAP fault"
	case r.errors && r.found:
		a.Kind = ErrorsAnswer
		a.Class, a.Code, a.ErrorType, a.Text = r.worst.class, r.worst.code, r.worst.errorType, r.worst.text
		a.Reason = "OpenTravel error"
	case r.errors:
		a.Kind = ErrorsAnswer
		a.Reason = "Errors without an error that could be read"
	case r.success:
		a.Kind, a.Class = SuccessAnswer, Delivered
		a.Reason = "Success"
		if r.warnings > 0 {
			a.Reason = fmt.Sprintf("Success with %d warnings", r.warnings)
		}
		return a
	case truncated:
		a.Reason = "no Success and no Errors in the part of the answer that was read"
	case broken != nil:
		a.Reason = "not an OpenTravel answer: " + printable(broken.Error(), maxText)
	default:
		a.Reason = fmt.Sprintf("not an OpenTravel answer: <%s> with neither Success nor Errors", r.root)
	}
	if a.ErrorType != "" {
		a.Reason += " type " + a.ErrorType
	}
	if a.Code != "" {
		a.Reason += " code " + a.Code
	}
	if a.Text != "" {
		a.Reason += ": " + a.Text
	}
	return a
}
