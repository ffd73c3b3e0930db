package pipeline

// Lower is the smaller of two positions.
var Lower = lower
