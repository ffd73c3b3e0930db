package opentravel

// Class is what an answer means for the delivery of its message.
type Class uint8

const (
	// Unclear is an answer that decides nothing: few attempts more, then a
	// dead letter. It is the zero value: what nobody has judged is not done.
	Unclear Class = iota
	// Delivered: the receiver took the message, perhaps with warnings.
	Delivered
	// Retryable: the receiver cannot take it now; the same message may pass later.
	Retryable
	// Permanent: this message will never pass; others may.
	Permanent
	// Hold: no message will pass until somebody acts, as with a wrong password.
	Hold
)

func (c Class) String() string {
	switch c {
	case Delivered:
		return "delivered"
	case Retryable:
		return "retryable"
	case Permanent:
		return "permanent"
	case Hold:
		return "hold"
	default:
		return "unclear"
	}
}

// urgency orders the classes of several errors in one answer: the message as a
// whole is as bad off as its worst error. Hold wins, since nothing else passes
// either; a retry may still clear what is Retryable or Unclear; Permanent stands
// only where nothing else does, because it gives the message up.
func (c Class) urgency() int {
	switch c {
	case Hold:
		return 4
	case Retryable:
		return 3
	case Unclear:
		return 2
	case Permanent:
		return 1
	default:
		return 0
	}
}

// Classes maps error codes (OpenTravel's list ERR) and error types (list EWT) to
// classes. Codes are not portable between vendors: a destination may have its
// own over the defaults. The zero value has none of its own.
type Classes struct {
	Codes map[string]Class
	Types map[string]Class
}

// The defaults, for receivers that use the lists as they are published.
var (
	defaultCodes = map[string]Class{
		"187": Retryable, // system currently unavailable
		"191": Retryable,
		"366": Retryable,
		"447": Retryable,

		"15":  Permanent, // invalid date
		"175": Permanent,
		"321": Permanent, // required field missing
		"392": Permanent, // invalid hotel code
		"402": Permanent,

		"497": Hold, // authorization

		"448": Unclear, // system error
		"450": Unclear, // unable to process
		"784": Unclear,
	}
	defaultTypes = map[string]Class{
		typeAuthentication: Hold,

		"6":  Permanent,
		"7":  Permanent,
		"10": Permanent,

		typeProcessing: Retryable, // without a code only

		"1":  Unclear,
		"13": Unclear,
	}
)

const (
	typeAuthentication = "4"
	typeProcessing     = "12"
)

// of is the class of one error. The destination's own codes and types come
// first. Then a code of the list decides over the type, except that an unclear
// code of type authentication is Hold: some vendors say "wrong password" with
// 448. A code that is not in the list leaves the decision to the type; type 12
// decides only when there is no code at all.
func (c Classes) of(code, errorType string) Class {
	if class, ok := c.Codes[code]; ok && code != "" {
		return class
	}
	if class, ok := c.Types[errorType]; ok && errorType != "" {
		return class
	}
	class, listed := defaultCodes[code]
	switch {
	case listed && class == Unclear && errorType == typeAuthentication:
		return Hold
	case listed:
		return class
	case errorType == typeProcessing && code != "":
		return Unclear
	default:
		return defaultTypes[errorType]
	}
}
