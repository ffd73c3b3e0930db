package opentravel

// contentType is the media type of a message. The charset is the one that its
// bytes are in: HTTP's has the last word over the declaration's.
func contentType(soap, charset, action string) string {
	media := "application/xml"
	switch soap {
	case SOAP11:
		media = "text/xml"
	case SOAP12:
		media = "application/soap+xml"
	}
	if soap == SOAP12 && action != "" {
		return media + "; charset=" + charset + `; action="` + action + `"`
	}
	if charset == charsetUTF8 {
		switch soap { // the usual ones are not built anew
		case SOAP11:
			return "text/xml; charset=utf-8"
		case SOAP12:
			return "application/soap+xml; charset=utf-8"
		}
		return "application/xml; charset=utf-8"
	}
	return media + "; charset=" + charset
}

// headerSafe is an action that can stand between quotes in an HTTP header, or
// empty.
func headerSafe(action []byte) string {
	const longest = 1024
	if len(action) > longest {
		return ""
	}
	for _, c := range action {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return ""
		}
	}
	return string(action)
}
