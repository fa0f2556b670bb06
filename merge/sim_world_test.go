package merge

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// world is a history under way: replicas, pulls between them, and the
// reference of what they must have.
type world struct {
	rand     *rand.Rand
	wrong    mistake
	events   model
	replicas []*replica
	pulls    []*pull
	lastID   ReplicaID
	steps    int
	thorough bool // check after every step
	depth    int  // of paths
	names    int  // in a directory
	most     int  // versions of a name, before the oldest get others; 0: any number
	thinned  int  // times that was done
	odds     odds
	style    func(p *pull) // makes pulls what it wants; may be nil
}

// odds say how often things happen, in parts of their sum.
type odds struct {
	operate, commit, pull, stepPulls, cut, repeat, sweep, crash, restore, clone int

	paths int // percent of pulls that are of a path
	burst int // pull steps at a time, as a power of 2
}

// anyOdds makes each history stress something else.
func anyOdds(r *rand.Rand) odds {
	some := func(n int) int { return 1 + r.IntN(n)*r.IntN(2) }
	return odds{
		operate: 20 + r.IntN(60), commit: 10, pull: 2 + some(20), stepPulls: 10 + r.IntN(30),
		cut: some(6), repeat: some(4), sweep: some(12), crash: some(4), restore: some(6), clone: r.IntN(2),
		paths: r.IntN(2) * r.IntN(100), burst: 1 + r.IntN(6),
	}
}

func newWorld(seed uint64, wrong mistake) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 5)), wrong: wrong, events: model{map[string][]*event{}}}
	w.thorough = w.rand.IntN(10) == 0
	w.depth, w.names, w.odds = 1+w.rand.IntN(3), 1+w.rand.IntN(2), anyOdds(w.rand)
	if w.rand.IntN(5) == 0 { // so many that pieces have others before and behind them
		w.depth, w.names = 1, 3+w.rand.IntN(6)
	}
	if w.rand.IntN(3) == 0 {
		w.most = 2 + w.rand.IntN(3)
	}
	for range 3 + w.rand.IntN(3) {
		s := state{id: w.newID(), root: &place{}}
		w.replicas = append(w.replicas, &replica{state: s, committed: s})
	}
	if w.rand.IntN(2) == 0 {
		w.plant(nil)
		w.gossip()
	}
	return w
}

// plant gives the first replica a tree for the others to begin with.
func (w *world) plant(at path) {
	for i := range w.names {
		sub := at.sub(string(rune('a' + i)))
		if len(sub) < w.depth {
			w.put(w.replicas[0], sub, KindDir, "", nil)
			w.plant(sub)
		} else {
			w.put(w.replicas[0], sub, KindFile, contents[w.rand.IntN(len(contents))], nil)
		}
	}
	w.replicas[0].committed = w.replicas[0].state
}

// copy returns a world that goes on from here by itself, without the pulls
// under way.
func (w *world) copy() *world {
	c := *w
	c.rand, c.pulls, c.replicas = rand.New(rand.NewPCG(uint64(w.steps), 6)), nil, nil
	for _, r := range w.replicas {
		o := *r
		c.replicas = append(c.replicas, &o)
	}
	c.events.events = map[string][]*event{}
	for key, es := range w.events.events {
		c.events.events[key] = slices.Clone(es)
	}
	return &c
}

func (w *world) newID() ReplicaID {
	w.lastID++
	return w.lastID
}

func (w *world) anyReplica() *replica { return w.replicas[w.rand.IntN(len(w.replicas))] }

// step lets one thing happen.
func (w *world) step() error {
	w.steps++
	r := w.anyReplica()
	known := w.knowledge(r)
	o := w.odds
	k := w.rand.IntN(o.operate + o.commit + o.pull + o.stepPulls + o.cut + o.repeat + o.sweep + o.crash + o.restore + o.clone)
	is := func(part int) bool { k -= part; return k < 0 }
	switch {
	case is(o.operate):
		w.operate(r)
	case is(o.commit):
		r.committed = r.state
	case is(o.pull):
		w.startPull(r)
	case is(o.stepPulls):
		w.stepPulls(1 << w.rand.IntN(o.burst))
	case is(o.cut):
		w.cutPull()
	case is(o.repeat):
		w.repeatApply()
	case is(o.sweep):
		w.tidy(r)
	case is(o.crash):
		w.crash(r)
		known = nil
	case is(o.restore):
		w.backUpOrRestore(r)
		known = nil
	default:
		w.clone(r)
	}
	if !w.thorough {
		return nil
	}
	return w.checkStep(r, known)
}

// tidy forgets what a replica need not remember, or shortens an index.
func (w *world) tidy(r *replica) {
	at := w.anyPath()
	at = at[:w.rand.IntN(len(at)+1)]
	if w.rand.IntN(2) == 0 && r.place(at) != nil {
		r.turn(at, w.wrong)
	} else {
		r.sweep(w.wrong)
	}
}

// knowledge is what r knows of each name, to see that it only grows.
func (w *world) knowledge(r *replica) map[string]Context {
	if !w.thorough {
		return nil
	}
	out := map[string]Context{}
	for key := range w.events.events {
		out[key] = r.known(splitKey(key))
	}
	return out
}

func (w *world) checkStep(r *replica, known map[string]Context) error {
	for key, was := range known {
		if is := r.known(splitKey(key)); !is.Covers(was) {
			return fmt.Errorf("replica %d: %s: knew %v, knows %v", r.id, key, was, is)
		}
	}
	for _, r := range w.replicas {
		if r.checked == r.root {
			continue
		}
		r.checked = r.root
		if err := w.events.check(&r.state); err != nil {
			return err
		}
	}
	return nil
}

// startPull begins a pull into r, of the volume or of a path.
func (w *world) startPull(to *replica) {
	from := w.anyReplica()
	if from == to || !w.mayPull(to, from) {
		return
	}
	var at path
	if w.rand.IntN(100) < w.odds.paths {
		at = w.anyPath()
	}
	if p := w.anyPull(to, from, at); w.begin(p) {
		w.pulls = append(w.pulls, p)
	}
}

// begin does the first step of a pull: the names on the way to the path, and
// the skip of all that is known. It returns false if that was all.
func (w *world) begin(p *pull) bool {
	at := p.open[0].at
	if !p.way(w, at) {
		return false
	}
	theirs := p.sender().view(at)
	if p.noSkip || p.sender().place(at) == nil || !p.to.view(at).Knows(theirs) {
		return true
	}
	skipped := &listing{view: theirs}
	p.finish(&frame{at: at, msg: skipped, first: skipped}, w)
	return false
}

// finishPull does all that is left of a pull, and checks that it was all.
func (w *world) finishPull(p *pull) error {
	for p.step(w) {
	}
	p.to.committed = p.to.state
	return w.checkPulled(p.to, p.from)
}

// mayPull is the rule for a copy that was restored: on contact with one that
// knows more of its changes than it does it becomes another replica.
func (w *world) mayPull(to, from *replica) bool {
	if !to.restored {
		return true
	}
	if from.committed.heard().Get(to.id) > to.n {
		w.renew(to)
		return true
	}
	to.restored = slices.ContainsFunc(w.replicas, func(o *replica) bool {
		return o != to && (o.heard().Get(to.id) > to.n || o.committed.heard().Get(to.id) > to.n)
	})
	return !to.restored
}

func (w *world) renew(r *replica) {
	r.renew(w.newID())
	r.restored = false
	r.committed = r.state
}

func (w *world) stepPulls(n int) {
	for range n {
		if len(w.pulls) == 0 {
			return
		}
		i := w.rand.IntN(len(w.pulls))
		p := w.pulls[i]
		if !p.step(w) {
			w.pulls = slices.Delete(w.pulls, i, i+1)
		}
		if w.rand.IntN(2) == 0 {
			p.to.committed = p.to.state
		}
	}
}

func (w *world) cutPull() {
	if len(w.pulls) > 0 {
		i := w.rand.IntN(len(w.pulls))
		w.pulls = slices.Delete(w.pulls, i, i+1)
	}
}

// repeatApply applies once more what some pull applied before.
func (w *world) repeatApply() {
	for _, p := range w.pulls {
		if len(p.late) > 0 {
			if f := p.late[w.rand.IntN(len(p.late))]; p.to.place(f.at) != nil {
				p.apply(f, w)
				w.taint(p, f.at)
			}
			return
		}
	}
}

// crash loses what r has not committed.
func (w *world) crash(r *replica) {
	w.dropPulls(func(p *pull) bool { return p.to == r })
	r.state, r.opened = r.committed, nil
	w.forgetLost()
}

// forgetLost takes the changes that are nowhere any more out of the history.
func (w *world) forgetLost() {
	w.events.forget(func(key string, e *event) bool {
		return slices.ContainsFunc(w.replicas, func(r *replica) bool { return r.known(splitKey(key)).Has(e.dot) })
	})
}

func (w *world) dropPulls(which func(*pull) bool) {
	w.pulls = slices.DeleteFunc(w.pulls, which)
}

// backUpOrRestore takes a backup of r, or makes r what its backup holds.
func (w *world) backUpOrRestore(r *replica) {
	if r.backup == nil || w.rand.IntN(3) == 0 {
		s := r.committed
		r.backup = &s
		return
	}
	w.dropPulls(func(p *pull) bool { return p.to == r || p.from == r })
	r.state, r.committed, r.opened = *r.backup, *r.backup, nil
	for _, o := range w.replicas {
		o.committed = o.state
	}
	w.forgetLost()
	if w.wrong == keepRestoredID {
		return
	}
	if r.restored = true; w.rand.IntN(2) == 0 {
		w.renew(r)
	}
}

// clone copies a device's data.
func (w *world) clone(r *replica) {
	if len(w.replicas) >= 6 {
		return
	}
	c := &replica{state: r.committed, committed: r.committed, restored: r.restored}
	w.replicas = append(w.replicas, c)
	if w.wrong != keepClonedID {
		w.renew(c)
	}
}

// run is a whole history: random steps, then gossip until all must agree.
func (w *world) run() error {
	for range 10 + w.rand.IntN(240) {
		if err := w.step(); err != nil {
			return err
		}
	}
	return w.rest()
}

func (w *world) rest() error {
	w.pulls = nil
	for _, r := range w.replicas {
		if r.restored {
			w.renew(r)
		}
		r.committed = r.state
	}
	if err := w.thinAll(); err != nil {
		return err
	}
	for range 2 {
		if _, err := w.gossip(); err != nil {
			return err
		}
	}
	for _, r := range w.replicas {
		if err := w.checkRest(r); err != nil {
			return err
		}
	}
	for _, r := range w.replicas[1:] {
		if o := w.replicas[0]; !sameNames(o.root, r.root) || !sameNames(r.root, o.root) {
			return fmt.Errorf("replicas %d and %d differ", o.id, r.id)
		}
	}
	if err := w.checkQuiet(); err != nil {
		return err
	}
	return w.checkSwept()
}

// thinAll gossips until no name has too many versions.
func (w *world) thinAll() error {
	for range 20 {
		before := w.thinned
		if _, err := w.gossip(); err != nil || w.thinned == before {
			return err
		}
	}
	return fmt.Errorf("versions go on getting other names: %d times by now", w.thinned)
}

// gossip lets each replica pull from the one before it, and returns how many
// directories that took.
func (w *world) gossip() (applied int, err error) {
	for i, from := range w.replicas {
		to := w.replicas[(i+1)%len(w.replicas)]
		p := w.anyPull(to, from, nil)
		if w.begin(p) {
			err = w.finishPull(p)
		} else {
			to.committed = to.state
			err = w.checkPulled(to, from)
		}
		if err != nil {
			return applied, err
		}
		if !p.noSkip {
			applied += p.applied
		}
	}
	return applied, nil
}

// checkPulled checks that a replica that has pulled from another knows all
// that the other knows.
func (w *world) checkPulled(to, from *replica) error {
	for key, es := range w.events.events {
		theirs, mine := from.known(splitKey(key)), to.known(splitKey(key))
		for _, e := range es {
			if theirs.Has(e.dot) && !mine.Has(e.dot) {
				return fmt.Errorf("replica %d: %s: has pulled from %d and does not know of %v", to.id, key, from.id, e.dot)
			}
		}
	}
	return nil
}

// checkRest checks that r knows and has all there is, settled.
func (w *world) checkRest(r *replica) error {
	if err := w.events.check(&r.state); err != nil {
		return err
	}
	for key, es := range w.events.events {
		at := path(splitKey(key))
		known, e := r.known(at), r.entry(at)
		for _, ev := range es {
			if !known.Has(ev.dot) && len(w.living(Context{ev.dot})) > 0 {
				return fmt.Errorf("replica %d: %s: never heard of %v", r.id, key, ev.dot)
			}
		}
		if _, more := e.Settle(); more {
			return fmt.Errorf("replica %d: %s: not settled: %v %v", r.id, key, e.Versions, e.Attrs)
		}
		if e.Conflict() != w.differ(e) {
			return fmt.Errorf("replica %d: %s: conflict %v: %v", r.id, key, e.Conflict(), e.Versions)
		}
	}
	return nil
}

// differ says whether there are versions of different content.
func (w *world) differ(e Entry) bool {
	for _, v := range e.Versions {
		for _, o := range e.Versions {
			if v.Kind != o.Kind || v.Content != o.Content {
				return true
			}
		}
	}
	return false
}

// checkQuiet checks that a third ring transfers nothing and changes nothing.
// Where something was learned in part of a replica that is gone, nobody can
// tell that it was all, and those directories are looked at again each time.
func (w *world) checkQuiet() error {
	lost := false
	var before []*place
	for _, r := range w.replicas {
		v := r.view(nil)
		unknown := v.Max.Without(v.Ctx)
		if len(w.living(unknown)) > 0 {
			return fmt.Errorf("replica %d: has changes it does not know of: %v", r.id, unknown)
		}
		lost = lost || len(unknown) > 0
		before = append(before, r.root)
	}
	n, err := w.gossip()
	if err == nil && n > 0 && !lost {
		err = fmt.Errorf("the third ring applied %d directories", n)
	}
	if err != nil {
		return err
	}
	for i, r := range w.replicas {
		if !sameNames(before[i], r.root) {
			return fmt.Errorf("replica %d: changed in the third ring", r.id)
		}
	}
	return nil
}

// sameNames says whether two trees hold the same.
func sameNames(a, b *place) bool {
	same := true
	walkPlace(b, nil, func(at path, c cell) {
		o := (&state{root: a}).entryAny(at)
		same = same && o.SameVersions(c.ent)
	})
	return same
}

// checkSwept checks that nothing remains of what is gone, but for what was
// learned in part of a replica that is gone as well: nobody can say the rest.
func (w *world) checkSwept() error {
	for _, r := range w.replicas {
		r.sweep(w.wrong)
		var err error
		r.walk(func(at path, c cell) {
			if ghost := w.living(c.ent.Ctx); len(ghost) > 0 {
				err = fmt.Errorf("replica %d: %s: ghost %v", r.id, at.key(), ghost)
			}
			if c.sub != nil && !c.sub.holds() && len(w.living(c.sub.dir.Ctx.Without(r.view(at.dir()).Ctx))) > 0 {
				err = fmt.Errorf("replica %d: %s: an empty place stays: %v", r.id, at.key(), c.sub.dir)
			}
		})
		if err != nil {
			return err
		}
		if err := w.events.check(&r.state); err != nil {
			return err
		}
	}
	return nil
}

// living is the part of ctx about replicas that exist.
func (w *world) living(ctx Context) Context {
	return slices.DeleteFunc(slices.Clone(ctx), func(d Dot) bool {
		return !slices.ContainsFunc(w.replicas, func(r *replica) bool { return r.id == d.Replica })
	})
}
