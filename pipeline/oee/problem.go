package oee

// Problem is something wrong in a Config: where, as the path of a field of the
// configuration file below the view (shifts[1].start), and what.
type Problem struct {
	Path string
	Text string
}

// Check returns everything that is wrong with a view.
func (c *Config) Check() []Problem { return nil }
