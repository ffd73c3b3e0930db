package main

// mutant is a deliberate defect.
type mutant struct {
	name    string
	changes []change
}

// change replaces a text that stands exactly once in the files of a package.
type change struct{ folder, find, put string }

// mutants are the defects, in the order of the way of a record.
var mutants = []mutant{
	{"the reader begins AFTER the position, also in the middle of an aggregate", []change{
		{"consumers", `types.ShardIteratorTypeAtSequenceNumber, aws.String(r.from.Sequence)`,
			`types.ShardIteratorTypeAfterSequenceNumber, aws.String(r.from.Sequence)`},
	}},
	{"a subscription begins AFTER the position, also in the middle of an aggregate", []change{
		{"consumers", `	after := r.next != "" && now().Sub(r.fresh) < freshFor
`, `	after := r.next != "" && now().Sub(r.fresh) < freshFor
	if at.Type == types.ShardIteratorTypeAtSequenceNumber {
		at.Type = types.ShardIteratorTypeAfterSequenceNumber
	}
`},
	}},
	{"a subscription that ends takes its last event with it", []change{
		{"consumers", `	case err == nil:
		r.event = &event
`, `	case err == nil:
		r.event = &event
		if next := aws.ToString(event.ContinuationSequenceNumber); next != "" && time.Now().UnixMilli()%10 == 0 {
			r.next, r.fresh = next, r.began.Round(0)
			r.Close()
		}
`},
	}},
	{"the first record of a reading is dropped as settled", []change{
		{"consumers", `	gap := p.prove(raw[0])
`, `	var gap *pipeline.Gap
	if p.proving {
		p.proving = false
		if raw = raw[1:]; len(raw) == 0 {
			return p.more(), nil
		}
	}
`},
	}},
	{"an aggregate's user records have one position", []change{
		{"consumers", `		r.Position.Sub = p.inner.next
`, ``},
	}},
	{"an aggregate with a user record of another shard is delivered", []change{
		{"consumers", `case p.source.outOfRange == DropOutOfRange && !a.within(p.hashKeys):`, `case p.source.outOfRange == DropOutOfRange && !a.within(allHashKeys):`},
	}},
	{"the highest settled position is saved, not the contiguous one", []change{
		{"pipeline", `	e := w.done.Load()
	for next`, `	e := w.done.Load()
	for n := e.next.Load(); n != nil; n = n.next.Load() {
		if w.settled(n.Index) {
			e = n
		}
	}
	for next`},
	}},
	{"saves are unconditional", []change{
		{"checkpoint", `return l.Counter == held.Counter && l.Tenure == held.Tenure && l.HandingOver == held.HandingOver`, `return true`},
	}},
	{"takes are unconditional", []change{
		{"checkpoint", `return l.Counter == seen.Counter && l.Owner == seen.Owner && l.Tenure == seen.Tenure`, `return true`},
	}},
	{"a lease is taken before the fail-over time", []change{
		{"checkpoint", `now-n.at > s.failover`, `now-n.at > s.failover/3`},
	}},
	{"a lease expires by the clock, whatever its counter says", []change{
		{"checkpoint", `if known && old.lease.Counter == l.Counter && old.lease.Tenure == l.Tenure &&`, `if known && old.lease.Tenure == l.Tenure &&`},
	}},
	{"a tenure is counted from the answer, not from the request", []change{
		{"checkpoint", `	sent := t.h.cfg.Clock()
		call, cancel := t.h.call(ctx)
		err := write(call)
		cancel()
`, `	call, cancel := t.h.call(ctx)
		err := write(call)
		cancel()
		sent := t.h.cfg.Clock()
`},
	}},
	{"a tenure does not end when its time is over", []change{
		{"checkpoint", `if t.h.cfg.Clock() < time.Duration(t.until.Load()) {`, `if t.h.cfg.Clock() < 1<<62 {`},
		{"checkpoint", `	if t.Valid() {
		t.expiry.Reset`, `	if t.h == nil {
		t.expiry.Reset`},
	}},
	{"attempts in flight outlive their tenure", []change{
		{"pipeline/deliver", `ctx, cancel := context.WithCancel(ctx)`, `ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))`},
	}},
	{"a child starts before its second parent is finished", []change{
		{"pipeline", `	for _, id := range l.Parents {`, `	for _, id := range l.Parents[:min(1, len(l.Parents))] {`},
		{"pipeline", `	for _, id := range lease.Parents {
		p, err := w.store.Get`, `	for _, id := range lease.Parents[:min(1, len(lease.Parents))] {
		p, err := w.store.Get`},
	}},
	{"a child's lease is made although its other parent has none", []change{
		{"pipeline", `	case listed(parent):`, `	case false && listed(parent):`},
		{"pipeline", `	case !listed(child):`, `	case false && !listed(child):`},
	}},
	{"a shard ends before its records are settled", []change{
		{"pipeline", `		if m.cursor.through() == log.head.Index {
`, `		if true {
`},
	}},
	{"a shard is at its end before its children have leases", []change{
		{"pipeline", `	if err := s.createChildren(ctx, lease, children); err != nil {
		return err
	}
	s.mu.Lock()
`, `	s.mu.Lock()
`},
		{"pipeline", `	s.logger.Info("shard finished", zap.Int("children", len(children)))
`, `	if err := s.createChildren(ctx, lease, children); err != nil {
		return err
	}
`},
	}},
	{"a laggard is put at the checkpoint", []change{
		{"pipeline", `		if needed {
			saved.Behind[name] = e
		}
`, `		if needed && s.live {
			saved.Behind[name] = e
		}
`},
	}},
	{"parked keys are not saved", []change{
		{"pipeline", `			e.Keys[key] = at
			needed = needed`, `			delete(e.Keys, key)
			needed = needed`},
	}},
	{"a parked key goes on before what was passed of it", []change{
		{"pipeline", `if p.lane || p.gate || p.behind(at) {`, `if p.lane || p.gate {`},
	}},
	{"a parked key's records beyond the main way's place are given twice", []change{
		{"pipeline", `		case !p.passed.Covers(e.Position, e.Arrival):
`, `		case false:
`},
	}},
	{"a laggard joins the shard log behind what it lacks", []change{
		{"pipeline", `if now.Before(m.rejoins) || !reached(m.cursor.place().At, cl.pin.taken.Position) {`, `if now.Before(m.rejoins) {`},
	}},
	{"the shard log does not wait for those who join it", []change{
		{"pipeline", `	w := newWalk(l, l.tail)
	l.walks = append(l.walks, w)
`, `	w := newWalk(l, l.head)
	l.walks = append(l.walks, w)
`},
	}},
	{"a subscriber that leaves forgets what it has settled ahead", []change{
		{"pipeline", `	c.main, c.start, c.ahead, c.released = nil, at, ahead, nil
`, `	c.main, c.start, c.ahead, c.released = nil, at, nil, nil
`},
	}},
	{"a subscriber that leaves counts as through with what it has taken", []change{
		{"pipeline", `	w, at := c.main, c.settledThrough()
`, `	w, at := c.main, c.main.taken.Position
`},
	}},
	{"gates of keys are ignored", []change{
		{"pipeline", `	p.gate = true
	c.special.Store(true)
`, `	c.special.Store(true)
`},
	}},
	{"a shard is at its end with parked keys forgotten", []change{
		{"pipeline", `	c.start, c.ahead = checkpoint.ShardEnd, nil
`, `	c.start, c.ahead = checkpoint.ShardEnd, nil
	clear(c.parked)
`},
	}},
	{"a catch-up goes on behind records that it did not append", []change{
		{"pipeline", `		cl.over = true // the next read would begin behind what was not appended
		return
	}
`, `		return
	}
	if len(batch.Records) > 1 && batch.Records[0].Position.Sub%7 == 3 {
		batch.Records = batch.Records[1:]
	}
`},
	}},
	{"gates are ignored", []change{
		{"pipeline", `if e, behind := p.Behind[name]; behind && (shared || e.At != checkpoint.ShardEnd) {`, `if false {`},
	}},
	{"gates ignore the parents' rosters", []change{
		{"pipeline", `if len(p.Roster) > 0 && !slices.Contains(p.Roster, name) {`, `if false {`},
	}},
	{"a subscriber gets again what it has settled", []change{
		{"pipeline", `	before := at.Covers(e.Position, e.Arrival)
`, `	before := at.Covers(e.Position, e.Arrival) && false
`},
	}},
	{"what a gate holds is not saved", []change{
		{"pipeline", `	maps.Copy(saved.Behind, p.held)
`, ``},
	}},
	{"the roster is the configuration", []change{
		{"pipeline", `p.roster = union(known, slices.Collect(maps.Keys(subscribers)))`, `p.roster = union(nil, slices.Collect(maps.Keys(subscribers)))`},
	}},
	{"who was removed does not keep its place", []change{
		{"pipeline", `	for name, e := range p.absent {`, `	for name, e := range map[string]checkpoint.Entry{} {`},
	}},
	{"a new subscriber gets records before the save that lists it", []change{
		{"pipeline", `	if p.save {
`, `	if false {
`},
	}},
	{"a lease that was removed is made again", []change{
		{"checkpoint", `if _, ok := leased[s.ID]; ok || through[s.ID] {`, `if _, ok := leased[s.ID]; ok || through[s.ID] && false {`},
	}},
	{"latest is the tip of whoever reads first", []change{
		{"pipeline", `return e.retention().since(e.config.Initial).position(checkpoint.At(e.pinned)), tip`, `return e.config.Initial.position(checkpoint.Latest), tip`},
	}},
	{"a lane has two attempts in flight", []change{
		{"pipeline/deliver", `	if a.lanes[e.Key] == nil {`, `	if true {`},
		{"pipeline/deliver", `	next := a.cursor.Settle(l.entry)
`, `	next := a.cursor.Settle(l.entry)
	next = nil
`},
	}},
	{"a record that fails lets its key go on", []change{
		{"pipeline/deliver", `		d.waiting.add(l, now.Add(d.retry.pause(l.failures, answer.RetryAfter, d.rng)))
`, `		d.settle(l)
`},
	}},
	{"a record settles although its dead letter was not written", []change{
		{"pipeline/deliver", `	d.log.written(d, l.letter, err)
`, `	d.log.written(d, l.letter, err)
	err = nil
`},
	}},
	{"a record that cannot be read is passed over", []change{
		{"pipeline", `			if err := s.source.unreadable(ctx, s, *r, err); err != nil {
				return err
			}
`, ``},
	}},
	{"a drain gives up at once", []change{
		{"pipeline", `context.WithDeadline(ctx, s.drainBy)`, `context.WithDeadline(ctx, time.Now().Add(time.Nanosecond))`},
	}},
	{"a removal goes lease by lease", []change{
		{"checkpoint", `case r.Set == 0 && allQuiet(leases, r.Version):
			leaving := *r`, `case r.Set == 0:
			leaving := *r`},
	}},
	{"configurations and parents bring back who is being removed", []change{
		{"pipeline", `	maps.DeleteFunc(initials, func(name string, _ Initial) bool { return s.orders.wish(name).Removal != nil })
`, ``},
		{"pipeline", `		if !wish.Removal.Leaving() {
			continue
		}
`, `		if wish.Removal != nil || wish.Removal == nil {
			continue
		}
`},
	}},
	{"who joins a shard that is read begins before its roster says so", []change{
		{"pipeline", `if s.saveRoster(ctx) {`, `if true {`},
	}},
	{"who leaves a shard has left before what is in flight has ended", []change{
		{"pipeline", `		m.sub.Detach(m.cursor)
		s.left(m)
`, `		s.left(m)
		m.sub.Detach(m.cursor)
`},
	}},
	{"a replay's positions are set while somebody still delivers", []change{
		{"checkpoint", `case r.Set == 0 && allQuiet(leases, r.Version):
			set := *r`, `case r.Set == 0:
			set := *r`},
	}},
}
