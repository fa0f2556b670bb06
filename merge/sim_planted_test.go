package merge

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// plot is a history told step by step, for mistakes that random ones seldom
// bring to light.
type plot func(w *world, a, b, c *replica) error

// TestPlantedMistakes: with any one of the rules left out, a history goes
// wrong. It is tried with random ones, and with a plot where that takes long.
func TestPlantedMistakes(t *testing.T) {
	plots := map[mistake]plot{
		untainted:         plotPullInsidePull,
		indexForgetsBelow: plotChangeDuringPull,
		noMax:             plotPathPulled,
		forgetGone:        plotDirectoryMadeAgain,
		removeAnyDir:      plotEmptyPlace,
		ghostsNotCopied:   plotGhostOfAPath,
		lastPiece:         plotChangeBetweenPieces,
	}
	for m := noMistake + 1; m < mistakes; m++ {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			if p := plots[m]; p != nil {
				checkPlot(t, p, m)
				return
			}
			for seed := range uint64(3000) {
				if err := tryHistory(seed, m); err != nil {
					t.Logf("seed %d: %.200v", seed, err)
					return
				}
			}
			t.Fatal("not caught")
		})
	}
}

// tryHistory runs a history with a mistake, which may break the simulation
// itself.
func tryHistory(seed uint64, m mistake) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return newWorld(seed, m).run()
}

// checkPlot checks that a plot goes well, and with a mistake does not.
func checkPlot(t *testing.T, p plot, m mistake) {
	for seed := range uint64(20) {
		if err := runPlot(p, noMistake, seed); err != nil {
			t.Fatalf("without the mistake: %v", err)
		}
		if err := runPlot(p, m, seed); err == nil {
			t.Fatal("not caught")
		}
	}
}

func runPlot(p plot, m mistake, seed uint64) error {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), wrong: m, events: model{map[string][]*event{}}}
	for range 3 {
		s := state{id: w.newID(), root: &place{}}
		w.replicas = append(w.replicas, &replica{state: s, committed: s})
	}
	err := p(w, w.replicas[0], w.replicas[1], w.replicas[2])
	for _, r := range w.replicas {
		if err == nil {
			err = w.events.check(&r.state)
		}
	}
	return err
}

// file writes and commits a file, superseding what is there.
func (w *world) file(r *replica, at path, content string) {
	w.steps++
	w.put(r, at, KindFile, content, r.entryAny(at).Seen())
	r.committed = r.state
}

func (w *world) dir(r *replica, at path) {
	w.put(r, at, KindDir, "", nil)
	r.committed = r.state
}

func (w *world) unlink(r *replica, at path) {
	w.delete(r, at, r.entry(at).Seen())
	r.committed = r.state
}

// pull pulls a path, all of it.
func (w *world) pull(to, from *replica, at ...string) error {
	p := newPull(to, from, at)
	if w.begin(p) {
		return w.finishPull(p)
	}
	to.committed = to.state
	return nil
}

// start begins a pull and stops when one directory was joined.
func (w *world) start(to, from *replica) *pull {
	p := newPull(to, from, nil)
	p.partial = false
	w.pulls = append(w.pulls, p)
	for w.begin(p); p.applied == 0; {
		p.step(w)
	}
	return p
}

// firstOf returns the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// plotPullInsidePull: b hears from c of what a has deleted, while it pulls
// from a and has joined the directory concerned.
func plotPullInsidePull(w *world, a, b, c *replica) error {
	w.file(c, path{"x"}, "x")
	err := w.pull(a, c)
	w.unlink(a, path{"x"})
	w.dir(a, path{"d"})
	w.file(a, path{"d", "f"}, "y")
	p := w.start(b, a)
	return firstOf(err, w.pull(b, c), w.finishPull(p))
}

// plotChangeDuringPull: a changes a file while b pulls, after it was listed;
// c knows the state that was listed.
func plotChangeDuringPull(w *world, a, b, c *replica) error {
	at := path{"s", "f"}
	w.dir(a, path{"s"})
	w.file(a, at, "x")
	err := firstOf(w.pull(b, a), w.pull(c, a))
	w.file(a, at, "y")
	err = firstOf(err, w.pull(c, a))
	p := w.start(b, a)
	w.file(a, at, "z")
	return firstOf(err, w.finishPull(p), w.pull(c, b), w.checkPulled(c, b))
}

// plotChangeBetweenPieces: a changes a file after b has the piece it is in.
func plotChangeBetweenPieces(w *world, a, b, c *replica) error {
	w.file(a, path{"f"}, "x")
	w.file(a, path{"g"}, "x")
	p := newPull(b, a, nil)
	p.partial, p.few = false, 1
	for w.begin(p); p.applied == 0; {
		p.step(w)
	}
	w.file(a, path{"f"}, "y")
	for p.step(w) {
	}
	b.committed = b.state
	return firstOf(w.events.check(&b.state), w.pull(b, a), w.checkPulled(b, a))
}

// plotPathPulled: b pulls a path of a's, and c all of b's.
func plotPathPulled(w *world, a, b, c *replica) error {
	w.dir(a, path{"d"})
	w.dir(a, path{"d", "e"})
	err := firstOf(w.pull(b, a), w.pull(c, b))
	w.file(a, path{"d", "e", "f"}, "x")
	return firstOf(err, w.pull(b, a, "d", "e"), w.pull(c, b), w.checkPulled(c, b))
}

// plotDirectoryMadeAgain: b deletes what is in a directory, forgets the
// directory, and makes it again; c must hear of the deletion.
func plotDirectoryMadeAgain(w *world, a, b, c *replica) error {
	w.dir(a, path{"d"})
	w.file(a, path{"d", "f"}, "x")
	err := firstOf(w.pull(b, a), w.pull(c, a))
	w.unlink(b, path{"d", "f"})
	w.unlink(b, path{"d"})
	b.sweep(w.wrong)
	err = firstOf(err, w.pull(a, b))
	w.dir(b, path{"d"})
	w.file(b, path{"d", "g"}, "y")
	b.committed = b.state
	return firstOf(err, w.pull(c, b), w.checkPulled(c, b))
}

// plotEmptyPlace: b has pulled a path that is empty by now, and must not
// forget what it knows of it.
func plotEmptyPlace(w *world, a, b, c *replica) error {
	w.dir(a, path{"d"})
	w.file(a, path{"d", "f"}, "x")
	err := w.pull(c, a)
	w.unlink(a, path{"d", "f"})
	err = firstOf(err, w.pull(b, a, "d"))
	b.sweep(w.wrong)
	b.committed = b.state
	return firstOf(err, w.pull(b, c), w.checkPulled(b, a))
}

// plotGhostOfAPath: b has pulled one file of c's and deleted it; a pulls from
// b and c from a, and the file must go.
func plotGhostOfAPath(w *world, a, b, c *replica) error {
	w.file(c, path{"d"}, "x")
	w.file(c, path{"e"}, "y")
	err := w.pull(b, c, "d")
	w.unlink(b, path{"d"})
	return firstOf(err, w.pull(a, b), w.checkPulled(a, b), w.pull(c, a), w.checkPulled(c, a))
}
