// Package opentravel reads OpenTravel (OTA) messages and their answers without
// building a document.
//
// Promise: Scan tells a message's type, its hotels and its SOAP version in one
// pass over the bytes; a message that is not well-formed XML, or that brings a
// document type declaration or an entity of its own, is refused with line,
// column and reason, never half read and never expanded. ReadAnswer tells what
// an answer's body means for the delivery, from as much of it as there is.
//
// Data flow: bytes → charset (UTF-8 checked, others transcoded) → scanner
// (tokens as ranges of the bytes) → homes (which HotelCode is the hotel) or
// classes (what an error code means). The bytes themselves are never changed:
// a message is delivered as it came.
//
// On failure: Scan returns a *SyntaxError and no message. ReadAnswer never
// fails: what it cannot read is Unclear, with the reason. Memory is bounded by
// the input: nesting, attributes per element and kept texts have limits.
package opentravel
