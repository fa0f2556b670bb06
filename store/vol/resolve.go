package vol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"bazil/merge"
	"bazil/store"
)

// Every way to end a conflict writes one version that supersedes those which
// whoever ends it has seen: a change like others. So two devices that end a
// conflict differently have a conflict of what they chose, and neither choice
// is lost; were the version that is kept left as it is, each of the two would
// drop what the other has kept. What has come in since it was looked at stays.

// Resolve ends a conflict: of the versions at path, that which holds keep goes
// on, the others of the dots of seen are superseded. What is there without
// a version, a device node or a directory that exists because of what is in
// it, is kept by the zero dot. Errors: ENOENT (that version is not there),
// ENOTEMPTY (a directory with names in it would have to go).
func (v *Volume) Resolve(ctx context.Context, path string, seen []merge.Dot, keep merge.Dot) error {
	return v.resolve(ctx, path, func(r *resolution) error { return r.one(seen, keep) })
}

func (r *resolution) one(seen []merge.Dot, keep merge.Dot) error {
	if keep == (merge.Dot{}) {
		return r.keepUnversioned(seen)
	}
	ver, err := r.rec.sibling(keep)
	if err != nil {
		return err
	}
	return r.keep(*ver, append(slices.Clone(seen), keep))
}

// Ending is how a conflict is to end, and how that went.
type Ending struct {
	Path string
	Seen []merge.Dot
	Keep merge.Dot // as Resolve's
	Both bool      // as ResolveBoth does, whatever Keep is

	Names []string // what ResolveBoth returns
	Err   error    // this conflict has not been ended
}

// ResolveAll ends conflicts, and returns when those that it has ended are
// durable: thousands take hardly more flushes than one. The error is one that
// concerns all of them.
func (v *Volume) ResolveAll(ctx context.Context, all []Ending) error {
	if err := v.Sync(ctx); err != nil {
		return err
	}
	for i := range all {
		if err := v.begin(ctx); err != nil {
			return err
		}
		e := &all[i]
		e.Err = v.resolveHere(e.Path, func(r *resolution) (err error) {
			if e.Both {
				e.Names, err = r.both(e.Seen)
				return err
			}
			return r.one(e.Seen, e.Keep)
		})
		v.unlock()
	}
	return v.Sync(ctx)
}

// ResolveFrom ends a conflict with new content: a version with the bytes of
// from takes the place of those of the dots of seen. Errors: as Resolve's.
func (v *Volume) ResolveFrom(ctx context.Context, path string, seen []merge.Dot, from io.Reader) error {
	defer v.o.Chunks.Hold()()
	body, err := v.storeBody(ctx, from)
	if err != nil {
		return err
	}
	return v.resolve(ctx, path, func(r *resolution) error {
		return r.keep(merge.Version{Kind: merge.KindFile, Content: string(body), Size: body.Size(), MTime: now()}, seen)
	})
}

// flushEvery is how many bytes of a body that is no file's yet are written
// before they are flushed, since no commit group does that.
const flushEvery = 16 << 20

// storeBody makes what from has durable.
func (v *Volume) storeBody(ctx context.Context, from io.Reader) (Body, error) {
	c := newContent(v.env, "")
	defer c.discard()
	buf := make([]byte, store.MaxPlain)
	for off := int64(0); ; {
		n, err := io.ReadFull(from, buf)
		if n > 0 {
			if _, err := c.WriteAt(ctx, buf[:n], off); err != nil {
				return "", err
			}
		}
		if err == nil {
			if off += int64(n); off%flushEvery < int64(n) {
				_, err = c.Flush(ctx)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return "", err
		}
	}
	c.settle()
	body, err := c.Flush(ctx)
	if err != nil {
		return "", err
	}
	return body, v.o.Chunks.Sync(ctx)
}

// resolution is a conflict being ended. v.mu is held.
type resolution struct {
	v   *Volume
	e   *entry
	rec *record // e's, not yet changed
}

// resolve ends the conflict at path as end does, and returns when that is
// durable.
func (v *Volume) resolve(ctx context.Context, path string, end func(r *resolution) error) error {
	if err := v.Sync(ctx); err != nil {
		return err
	}
	if err := v.begin(ctx); err != nil {
		return err
	}
	err := v.resolveHere(path, end)
	v.unlock()
	if err != nil {
		return err
	}
	return v.Sync(ctx)
}

// resolveHere ends the conflict at path as end does. v.mu is held.
func (v *Volume) resolveHere(path string, end func(r *resolution) error) error {
	e, err := v.entryAt(path)
	if err != nil {
		return err
	}
	return end(&resolution{v, e, e.rec})
}

// keep makes ver, one of the versions or a new one, what the name has in the
// place of the versions of the dots of seen.
func (r *resolution) keep(ver merge.Version, seen []merge.Dot) error {
	if err := r.mayGo(&ver); err != nil {
		return err
	}
	if seen = r.dotsOf(seen); len(seen) == 0 {
		return fmt.Errorf("%s: none of the versions that were seen is there: %w", r.e.path(), syscall.ENOENT)
	}
	v, old := r.v, r.rec
	rec := old.clone()
	dot := v.spendFor(&rec.Entry, seen)
	hold := r.e.node != nil && slices.Contains(r.e.node.seen, ver.Dot)
	ver.Dot, ver.MStamp = dot, merge.Stamp{Time: now(), Dot: dot}
	rec.Entry, rec.Shown = rec.Put(ver, seen), dot
	if hold {
		r.e.node.seen = []merge.Dot{dot}
	}
	r.install(rec)
	return nil
}

// keepUnversioned removes the versions of the dots of seen.
func (r *resolution) keepUnversioned(seen []merge.Dot) error {
	if r.rec.version() != nil || r.rec.kind() == 0 {
		return fmt.Errorf("%s: what is there is one of the versions: %w", r.e.path(), syscall.ENOENT)
	}
	if seen = r.dotsOf(seen); len(seen) > 0 {
		r.drop(seen)
	}
	return nil
}

// drop removes the versions of the dots of seen.
func (r *resolution) drop(seen []merge.Dot) {
	rec := r.rec.clone()
	r.v.spend()
	rec.Entry = rec.Delete(seen)
	r.install(rec)
}

func (r *resolution) install(rec *record) {
	r.v.present(r.e, r.rec, rec)
	r.v.put(r.e, rec)
	r.v.touchDir(r.e.dir, now())
}

// mayGo says whether ver can be all that the name has: a directory that has
// names in it, or a device node, does not go for another version.
func (r *resolution) mayGo(ver *merge.Version) error {
	switch {
	case r.rec.Device:
		return fmt.Errorf("%s: a device node of this device has that name: rename it first: %w", r.e.path(), syscall.EEXIST)
	case r.rec.Implied && ver.Kind != merge.KindDir:
		return fmt.Errorf("%s: there are files in the directory of that name: rename it first, or keep both: %w", r.e.path(), syscall.ENOTEMPTY)
	}
	return nil
}

// dotsOf are all dots of the versions that hold one of seen, or are equal to
// such.
func (r *resolution) dotsOf(seen []merge.Dot) (dots []merge.Dot) {
	return r.rec.Equal(seen)
}
