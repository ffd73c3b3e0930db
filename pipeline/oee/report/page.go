package report

import "html/template"

// page is what the HTML template shows: all text made, all lengths worked out.
type page struct {
	Title, Heading, When, Zone, Until, Made string
	Style                                   template.CSS
	WarnAt, TargetAt                        float64
	Bands                                   []band
	Marks                                   []mark
	Notes                                   []string
	Hero                                    *hero
	Plant                                   *section
	Lines                                   []section
	Tiles                                   []tile
	Overview                                *overview
	Machines                                []section
}

// band is what an OEE means against the targets: never by its colour alone.
type band struct{ Class, Sign, Word, Range string }

// mark says what may become of a result.
type mark struct{ Class, Sign, Word, Meaning string }

// figure is a ratio as it is shown.
type figure struct {
	band
	Key, Name, Value, Basis string
	Null, Zones, Banded     bool    // Zones: it is the OEE; Banded: there are targets for it
	Over                    bool    // beyond 100 %
	Length, Full            float64 // of the bar and of its track; 1 is 100 %
}

// section is a machine, or a group of them.
type section struct {
	ID, Name, About string
	Cards           []card
	Inputs          []inputs
	Strip           *strip
	Losses          *losses
	Stops           *stops
}

// card is a window.
type card struct {
	Name, When string
	Whole      bool // all windows together
	Mark       mark
	Bars       []figure
	Flags      []flag
}

// flag is something to look at, or, neutral, how a figure is meant.
type flag struct {
	Text    string
	Neutral bool
}

// inputs are the sums behind the figures of a section, by window.
type inputs struct {
	Columns []string
	Rows    []inputRow
}

type inputRow struct {
	Name, How string // How: of a ratio
	Ratio     bool
	Values    []string
}

// hero is the one figure on top.
type hero struct {
	About, How string
	OEE        figure
}

type tile struct {
	Class, Sign                 string // of the state
	Machine, Line, Link         string
	State, Since, Count, Target string
	OEE                         figure
}

type overview struct {
	Caption string
	Columns []string
	Rows    []overviewRow
}

type overviewRow struct {
	Machine, Line, Link, A, P, Q, Total, Good string
	OEE                                       figure
	Shifts                                    []figure
}

// losses is the waterfall.
type losses struct {
	Caption string
	Steps   []step
}

// step is a bar of the waterfall that hangs between two heights.
type step struct {
	Key, Name, Class   string
	Sum                bool // what is left, rather than what is lost
	From, Length, Full float64
	Minutes, Share     string
}

// stops is the Pareto of reasons.
type stops struct {
	Caption string
	Rows    []stopRow
}

type stopRow struct {
	Reason, Minutes, Number, Cumulative string
	Length                              float64
}

// strip is a state time line, drawn in hundredths of its width.
type strip struct {
	ID, Title, Text, Caption string
	Segments                 []segment
	Edges                    []edge
	Ticks                    []tick
	States                   []stateRow
	Changes                  *changes
}

type segment struct {
	Class string
	X, W  string
	Y, H  int
}

type edge struct {
	X, Label string
	Minor    bool // no room on a phone
}

type tick struct {
	X, Label, Anchor string
	Minor            bool
}

type stateRow struct {
	Class, Name, Time, Share, Number string
	Y, H                             int
}

type changes struct {
	Summary string
	Rows    []change
}

type change struct{ From, To, State, Reason, Time string }
