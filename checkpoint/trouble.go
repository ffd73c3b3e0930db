package checkpoint

import (
	"context"
	"errors"

	"github.com/aws/smithy-go"
	"go.uber.org/zap"
)

// trouble is something that fails again and again. It is logged when it begins,
// when its cause changes and when it is over.
type trouble struct {
	cause string
	times int // failures in a row
}

func (t *trouble) note(log *zap.Logger, err error, fails, works string) {
	switch cause := causeOf(err); {
	case err == nil && t.times > 0:
		log.Info(works, zap.Int("failures", t.times))
		*t = trouble{}
	case err == nil:
	case t.cause != cause:
		log.Error(fails, zap.Error(err))
		t.cause = cause
		t.times++
	default:
		t.times++
	}
}

// causeOf is what does not differ from one failure to the next: request ids and
// ports do.
func causeOf(err error) string {
	var api smithy.APIError
	for _, sentinel := range []error{ErrThrottled, ErrForeign, ErrTooLarge, ErrNotSaved, errBack, context.DeadlineExceeded} {
		if errors.Is(err, sentinel) {
			return sentinel.Error()
		}
	}
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	}
	return "no answer"
}
