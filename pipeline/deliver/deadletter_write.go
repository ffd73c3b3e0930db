package deliver

// maxWriting bounds the letters that are written at once. They take no part in
// the destination's concurrency: a dead letter queue that hangs holds up the
// lanes that have letters for it, and no other.
const maxWriting = 64

// maxRefused bounds the lanes whose letters are to be written: then no more
// records are taken.
const maxRefused = 1024

// kickWriters starts goroutines for the letters that are to be written. d.mu is
// held.
func (d *Destination) kickWriters() {
	for d.writers.starting < d.refused.n && d.writers.running < maxWriting {
		d.writers.running++
		d.writers.starting++
		d.workers.Go(d.writeLetters)
	}
}

// writers are the goroutines that write letters.
type writers struct {
	running  int // at most maxWriting
	starting int // those of them that have not looked for a letter yet
}

// writeLetters writes the letters of refused lanes, one after the other, until
// there is none.
func (d *Destination) writeLetters() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writers.starting--
	for l := d.refused.pop(); l != nil; l = d.refused.pop() {
		if d.drains(l) || d.over(l) {
			continue
		}
		a, letter, letters := l.of, l.letter, l.letters
		l.place = flying
		a.busy++
		d.mu.Unlock()
		err := letters.Put(a.ctx, *letter)
		d.mu.Lock()
		d.written(l, err)
		d.refill()
		d.kick() // the key's next record, or another's
		a.busy--
		a.signal()
	}
	d.writers.running--
}
