// Package report shows a business date of a view to people and to other
// programs: as text for a terminal, as CSV, as JSON, and as one HTML file that
// needs nothing else: no script, no font, no picture from anywhere.
//
// New collects what is shown from the figures (Figures, which *oee.View is) and
// adds up what belongs together: the shifts of a date, the machines of a plant.
// It adds sums, never ratios. Everything else is presentation: numbers are
// rounded only here, a ratio that is undefined is a dash, and one above 100 %
// is shown as it is, with a flag.
//
// Names of machines, reasons and products come from machines. They are escaped
// wherever they are written.
package report
