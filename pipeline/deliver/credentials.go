package deliver

// renewable appends v to values when it may be renewed.
func (v Value) renewable(values []Value) []Value {
	if v.Refused == nil {
		return values
	}
	return append(values, v)
}

// refused tells the credentials of an answer that refuses them.
// While newer ones may be there soon the attempt is made again; a destination
// that is held already waits for its next probe.
func (s *sending) refused(l *lane, answer *Answer) {
	if len(s.credentials) == 0 || answer.Status != 401 && answer.Reason != ReasonOTAHold {
		return
	}
	soon := false
	for _, v := range s.credentials {
		soon = v.Refused() || soon
	}
	if soon && !l.probe && answer.Reason == ReasonUnauthorized {
		answer.Reason = ReasonStaleCredentials
	}
}
