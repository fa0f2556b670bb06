package vol

import "sync"

// staleTrees notes which directories change while a snapshot is made.
type staleTrees struct {
	mu   sync.Mutex // guards all below
	dirs map[uint64]struct{}
}

func (s *staleTrees) begin() {
	s.mu.Lock()
	s.dirs = make(map[uint64]struct{})
	s.mu.Unlock()
}

func (s *staleTrees) end() {
	s.mu.Lock()
	s.dirs = nil
	s.mu.Unlock()
}

// note notes directories if a snapshot is being made.
func (s *staleTrees) note(nums map[uint64]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirs == nil {
		return
	}
	for num := range nums {
		s.dirs[num] = struct{}{}
	}
}

func (s *staleTrees) has(num uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.dirs[num]
	return ok
}

// noteStale begins to note what changes from here on, with the group that is
// on its way.
func (v *Volume) noteStale() {
	v.mu.Lock()
	defer v.unlock()
	v.stale.begin()
	if v.commit != nil {
		v.stale.note(v.commit.stale())
	}
}

// stale are the directories whose trees a group changes: those with a name
// in it, and all above them.
func (g *group) stale() map[uint64]struct{} {
	out := make(map[uint64]struct{})
	add := func(d *dir) {
		for ; d != nil; d = d.parent() {
			if _, there := out[d.num]; there {
				return
			}
			out[d.num] = struct{}{}
		}
	}
	for _, e := range g.entries {
		add(e.dir)
	}
	for _, d := range g.dirs {
		add(d)
	}
	return out
}

// forgetTrees forgets the trees of directories.
func (w *writer) forgetTrees(stale map[uint64]struct{}) {
	b := w.tx.Bucket(bucketTrees)
	for num := range stale {
		if key := numKey(num, ""); b.Get(key) != nil {
			w.trees = append(w.trees, change{key, nil})
		}
	}
}
