package opentravel

import "strings"

// faultClasses has the class by the first part of a SOAP fault's code, without
// prefix: Server of soap:Server.userException.
var faultClasses = map[string]Class{
	"Client":              Permanent,
	"Sender":              Permanent,
	"VersionMismatch":     Permanent,
	"MustUnderstand":      Permanent,
	"DataEncodingUnknown": Permanent,

	"Server":   Retryable,
	"Receiver": Retryable,

	// WS-Security: the receiver refuses the sender, not the message.
	"FailedAuthentication":     Hold,
	"FailedCheck":              Hold,
	"InvalidSecurity":          Hold,
	"InvalidSecurityToken":     Hold,
	"SecurityTokenUnavailable": Hold,
	"UnsupportedSecurityToken": Hold,
	"UnsupportedAlgorithm":     Hold,
	"Authentication":           Hold, // Client.Authentication
	"Unauthorized":             Hold,
}

// faultClass is the class of a fault and the code that decided: the most urgent
// of its codes and of their parts, so that a Sender's FailedAuthentication holds.
func (r *answerReader) faultClass() (Class, string) {
	class, code := Unclear, ""
	known := false
	for _, found := range r.faultCodes {
		local := found[strings.LastIndexByte(found, ':')+1:]
		for part := range strings.SplitSeq(local, ".") {
			of, ok := faultClasses[part]
			if ok && (!known || of == Hold && class != Hold) {
				known, class, code = true, of, found
			}
		}
	}
	if !known && len(r.faultCodes) > 0 {
		code = r.faultCodes[0]
	}
	return class, code
}
