package deliver

import (
	"time"

	"go.uber.org/zap"
)

// changes keeps logs to changes: one record among many is worth no line, a
// destination that goes down is. It is guarded by the destination's mutex.
type changes struct {
	failures int       // attempts in a row, of all keys, that were not delivered
	since    time.Time // of the first of them
	failing  bool      // that was logged

	letters    int       // dead letters since the last line about them
	lettersAt  time.Time // of that line
	warnings   int       // answers with some since the last line about them
	warningsAt time.Time // of that line

	keys   int       // held since the last line about them
	keysAt time.Time // of that line

	unwritable  bool // dead letters cannot be written: that was logged
	unwritables int  // tries since
}

const (
	// failingAfter failures in a row make a destination one that fails: more
	// than one key's bad luck.
	failingAfter = 10
	// linesEvery is the least time between two lines about dead letters, or held keys.
	linesEvery = time.Minute
)

func (c *changes) answered(d *Destination, reason Reason, now time.Time) {
	switch reason.Class() {
	case Delivered:
		if c.failing {
			d.logger.Info("destination delivers again", zap.Int("failures", c.failures), zap.Duration("after", now.Sub(c.since)))
		}
		c.failures, c.failing = 0, false
	case Retry:
		if reason == ReasonCancelled {
			return
		}
		if c.failures == 0 {
			c.since = now
		}
		if c.failures++; c.failures >= failingAfter && !c.failing {
			c.failing = true
			d.logger.Warn("destination fails: retrying with back-off", zap.Stringer("reason", reason),
				zap.Int("failures", c.failures), zap.String("to_do", reasons[reason].todo))
		}
	}
}

// warned tells of an answer with warnings: of the first, and then of one a
// minute; of each at debug.
func (c *changes) warned(d *Destination, l *lane, a Answer, now time.Time) {
	d.metrics.warned.Inc()
	level := zap.DebugLevel
	if c.warnings++; c.warningsAt.IsZero() || now.Sub(c.warningsAt) >= linesEvery {
		level = zap.WarnLevel
	}
	line := d.logger.Check(level, "the receiver took a message with warnings, perhaps not all of it")
	if line != nil {
		line.Write(zap.String("source", l.of.shard.Source), zap.String("shard", l.of.shard.Shard), zap.String("sequence_number", l.entry.Position.Sequence),
			zap.Int("warnings", a.Warnings), zap.Strings("notes", a.Notes), zap.Int("answers", c.warnings))
	}
	if level == zap.WarnLevel {
		c.warnings, c.warningsAt = 0, now
	}
}

func (c *changes) written(d *Destination, letter *DeadLetter, err error) {
	if err != nil {
		c.unwritables++
		if !c.unwritable {
			c.unwritable = true
			d.logger.Error("dead letter not written: its key waits, others go on; free the disk or correct the queue", zap.Error(err))
		}
		return
	}
	if c.unwritable {
		d.logger.Info("dead letters are written again", zap.Int("failures", c.unwritables))
		c.unwritable, c.unwritables = false, 0
	}
	c.letters++
	if c.lettersAt.IsZero() || letter.Time.Sub(c.lettersAt) >= linesEvery {
		d.logger.Warn("records go to the dead letters", zap.String("reason", letter.Reason),
			zap.Int("records", c.letters), zap.String("source", letter.Source), zap.String("shard", letter.Shard))
		c.letters, c.lettersAt = 0, letter.Time
	}
}
