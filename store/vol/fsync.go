package vol

import (
	"context"
	"errors"

	"bazil/merge"
)

// Sync returns when the file's bytes and attributes, and the names on the way
// to it, are durable: in the log where only a few bytes of it have changed
// since it was, else with the commit group.
func (h *Handle) Sync(ctx context.Context) error {
	if b, ok := h.v.logSync(h); ok {
		if b == nil {
			return nil
		}
		if err := h.v.log.wait(ctx, b); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return h.v.sync(ctx, h.f)
}

// logSync puts what makes h's file durable in the log, and returns the batch
// that does, nil if it is durable. It is not ok where a commit group has to.
func (v *Volume) logSync(h *Handle) (b *logBatch, ok bool) {
	v.mu.Lock()
	defer v.unlock()
	in, f := h.in, h.f
	if v.closed || v.ended || v.replaying || in.file != f || !v.loggable(in) {
		return nil, false
	}
	if err := v.log.ready(); err != nil {
		if errors.Is(err, errLogFull) {
			v.committer.wake()
		}
		return nil, false
	}
	ch, none, ok := f.c.take(in.mark != "" && in.wrote == v.now.gen)
	if none || !ok {
		return f.logged, ok
	}
	if f.loggedAt == 0 {
		f.loggedAt = v.log.durable.group
	}
	r := logRecord{mtime: in.mtime, change: in.change, logChange: ch}
	f.logged, f.loggedSeq = v.log.append(in.num, r.encode(), f.c)
	if v.log.crowded() {
		v.committer.wake()
	}
	return f.logged, true
}

// loggable says whether what the Bolt file has of in's name and content is
// what the log can go on from: nothing but bytes has changed since, and these
// do not rest on chunks that came from elsewhere and may not be on disk.
func (v *Volume) loggable(in *inode) bool {
	f := in.file
	if !in.linked() || in.held != nil || f.stuck != nil || f.dropped || !f.own || v.env.fetches.Load() != v.fetched {
		return false
	}
	for e := in.at; e != v.root.at; e = e.dir.at {
		if v.dirty(e.named) {
			return false
		}
	}
	return true
}

// isOwn says whether a version was made here.
func (v *Volume) isOwn(ver *merge.Version) bool {
	return ver.Dot.Replica == v.state.replica
}

// keepLogged notes in a closed group, of which the bytes are flushed, whose
// records in the log go on to count: those of files that could not be flushed.
func (v *Volume) keepLogged(g *group) {
	for _, s := range g.flushes {
		if s.err == nil {
			continue
		}
		v.mu.Lock()
		if at := s.f.loggedAt; at != 0 && !s.f.dropped {
			if g.state.left == nil {
				g.state.left = make(map[uint64]uint64)
			}
			g.state.left[s.f.in.num] = at
		}
		v.mu.Unlock()
	}
}
