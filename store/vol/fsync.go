package vol

import "context"

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
	if v.closed || v.ended || !v.loggable(h) || !v.log.ready() {
		return nil, false
	}
	ch, none, ok := f.c.take(in.wrote == v.now.gen)
	if none || !ok {
		return f.logged, ok
	}
	if f.loggedAt == 0 {
		f.loggedAt = v.log.durable.group
	}
	r := logRecord{mtime: in.mtime, change: in.change, logChange: ch}
	f.logged, f.loggedSeq = v.log.append(in.num, r.encode())
	if v.log.crowded() {
		v.committer.wake()
	}
	return f.logged, true
}

// loggable says whether what the Bolt file has of h's file is what the log can go
// on from: nothing but bytes has changed since, which can become a part of a
// group, and no write needed a chunk that may not be on disk. A name that holds
// back what came in from a peer (inode.held) has changed, too, once it is
// written; so have all names in a directory that was moved.
func (v *Volume) loggable(h *Handle) bool {
	return h.in.linked() && !v.dirty(h.in.at.named) && h.f.stuck == nil && v.env.loose.Load() == v.flushed
}

// keepLogged notes in a closed group, of which the bytes are flushed, whose
// records in the log go on to count: those of files that could not be flushed.
func (v *Volume) keepLogged(g *group) {
	for _, s := range g.flushes {
		if s.err == nil {
			continue
		}
		v.mu.Lock()
		if at := s.f.loggedAt; at != 0 { // though it may be gone by now: that is not durable
			if g.state.left == nil {
				g.state.left = make(map[uint64]uint64)
			}
			g.state.left[s.f.in.num] = at
		}
		v.mu.Unlock()
	}
}
