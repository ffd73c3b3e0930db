package simulation

import (
	"fmt"
	"strings"

	"go.uber.org/zap/zapcore"
)

// logCore puts a process's log lines into the history's.
type logCore struct{ process *process }

// Enabled implements zapcore.Core.
func (c logCore) Enabled(l zapcore.Level) bool { return l >= zapcore.InfoLevel }

// With implements zapcore.Core; what was said of a logger before is left out.
func (c logCore) With([]zapcore.Field) zapcore.Core { return c }

// Check implements zapcore.Core.
func (c logCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	var names []string
	for _, f := range fields {
		f.AddTo(encoder)
		names = append(names, f.Key)
	}
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintf(&text, " %s=%v", name, encoder.Fields[name])
	}
	c.process.world.logf("%s says %s: %s%s", c.process.id, e.Level, e.Message, text.String())
	return nil
}

// Sync implements zapcore.Core.
func (c logCore) Sync() error { return nil }
