package redrive

import (
	"context"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

// Queue is a dead letter queue as it is read. Its methods are called one at a
// time.
type Queue interface {
	// Scan calls found with every letter that is there and was not redriven, as
	// far as f lets the queue know beforehand which to read, and with whatever
	// else it has instead of letters. It ends with found's error. Letters may
	// come without their data, and in any order.
	Scan(ctx context.Context, f Filter, found func(Found) error) error
	// Load fills in a letter's data, where Scan has left it out.
	Load(ctx context.Context, f *Found) error
	// Done takes letters out of the queue, or marks them as redriven: they are
	// delivered. After an error they may still be there.
	Done(ctx context.Context, command string, letters []*Found) error
	// Partial says that Scan finds more once what it found before is done.
	Partial() bool
	// Release gives back what was found and is not done.
	Release(ctx context.Context) error
}

// Found is what a queue has.
type Found struct {
	Letter  deliver.DeadLetter
	Where   string // for people
	Problem error  // it is no letter, and this is why
	Size    int    // of its data, as far as it is known; 0: it is elsewhere
	Loaded  bool   // Letter has its data
	Place   any    // the queue's own
}

// Filter says which letters are meant. The zero value means all.
type Filter struct {
	Destination string // empty: every one
	Key         string // empty: every one
	Since       time.Time
	Until       time.Time // exclusive
	Reason      string    // empty: every one
}

// Has says whether a letter is meant.
func (f Filter) Has(l *deliver.DeadLetter) bool {
	return (f.Destination == "" || f.Destination == l.Destination) && (f.Key == "" || f.Key == l.Key) &&
		(f.Since.IsZero() || !l.Time.Before(f.Since)) && (f.Until.IsZero() || l.Time.Before(f.Until)) &&
		(f.Reason == "" || f.Reason == l.Reason)
}
