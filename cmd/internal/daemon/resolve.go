package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/merge"
	"bazil/store/vol"
)

// target is the volume and the path that a command means: two arguments, or
// one with a slash between.
func target(c *ctlfs.Call) (volume, path string, err error) {
	volume, path = c.Arg("volume"), c.Arg("path")
	if volume == "" {
		volume, path, _ = strings.Cut(path, "/")
	} else if v, p, ok := strings.Cut(volume, "/"); ok && path == "" {
		volume, path = v, p
	}
	path = strings.Trim(path, "/")
	if volume == "" {
		return "", "", ctlfs.Errorf(syscall.EINVAL, "%s: it takes VOLUME/PATH", c.Verb.Name)
	}
	return volume, path, nil
}

// resolve ends conflicts: that at a path, or all whose paths match a pattern.
func (d *Daemon) resolve(ctx context.Context, c *ctlfs.Call) error {
	name, pattern, err := target(c)
	if err != nil {
		return err
	}
	v, ctx, done, err := d.useVolume(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	names, err := d.replicaNames()
	if err != nil {
		return err
	}
	chosen, err := meant(ctx, v.vol, pattern)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		return ctlfs.Errorf(syscall.ENOENT, "volume %q has no conflict at %q: conflicts tells those there are", name, pattern)
	}
	r := resolver{d: d, v: v, names: names}
	if c.Arg("how") == "from" {
		err = r.from(ctx, chosen, c.Arg("which"))
	} else {
		err = r.keep(ctx, chosen, c.Arg("which"))
	}
	d.followers.settle(ctx)
	if err != nil && len(r.did) > 0 {
		return fmt.Errorf("%s%w", strings.Join(r.did, ""), err)
	}
	c.Printf("%s", strings.Join(r.did, ""))
	return err
}

// meant are the conflicts that a path or a pattern means.
func meant(ctx context.Context, v *vol.Volume, pattern string) ([]vol.Conflict, error) {
	if c, err := v.ConflictAt(pattern); !errors.Is(err, syscall.ENOENT) {
		return []vol.Conflict{c}, err
	}
	words := strings.Split(pattern, "/")
	for _, w := range words {
		if _, err := path.Match(w, ""); err != nil {
			return nil, ctlfs.Errorf(syscall.EINVAL, "pattern %q: %q has a [ or \\ that does not end", pattern, w)
		}
	}
	var chosen []vol.Conflict
	for c, err := range v.EachConflict(ctx) {
		if err != nil {
			return nil, err
		}
		if matchPath(words, strings.Split(c.Path, "/")) {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// matchPath tells whether the words of a pattern match the names of a path: **
// any number of them, another word one, as path.Match says.
func matchPath(words, names []string) bool {
	at := make([]bool, len(names)+1) // which ends of names the words so far can reach
	at[0] = true
	for _, w := range words {
		next := make([]bool, len(at))
		for i := range at {
			switch {
			case w == "**":
				next[i] = at[i] || i > 0 && next[i-1]
			case i > 0 && at[i-1]:
				next[i], _ = path.Match(w, names[i-1])
			}
		}
		at = next
	}
	return at[len(names)]
}

// resolver ends conflicts of one volume.
type resolver struct {
	d     *Daemon
	v     *openVolume
	names *replicaNames
	did   []string // a line for each path
}

func (r *resolver) note(c *vol.Conflict, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	r.did = append(r.did, fmt.Sprintf("%s/%s: %s\n", r.v.name, c.Path, what))
	r.d.event("resolve", "volume", r.v.name, "path", c.Path, "done", what)
}

// from ends one conflict with the bytes of a file.
func (r *resolver) from(ctx context.Context, chosen []vol.Conflict, file string) error {
	if len(chosen) != 1 {
		return ctlfs.Errorf(syscall.EINVAL, "resolve from: the pattern means %d conflicts, and one file cannot end them all", len(chosen))
	}
	if !filepath.IsAbs(file) {
		return ctlfs.Errorf(syscall.EINVAL, "resolve from %q: it takes a path that begins with /", file)
	}
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("resolve from: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, ctlfs.Errorf(syscall.EINVAL, "resolve from %q: it is not a regular file", file))
	}
	c := &chosen[0]
	if err := r.v.vol.ResolveFrom(ctx, c.Path, c.Dots(), f); err != nil {
		return r.failed(c, err)
	}
	r.note(c, "put what was given in the place of %d versions", len(c.Siblings))
	return nil
}

func (r *resolver) failed(c *vol.Conflict, err error) error {
	return fmt.Errorf("resolve %s/%s: %w", r.v.name, c.Path, err)
}

// endings is how many conflicts are ended at once: what is ended by then stays
// so when the command is interrupted.
const endings = 1024

// keep ends each conflict as the word says. One that cannot be ended leaves
// the others.
func (r *resolver) keep(ctx context.Context, chosen []vol.Conflict, which string) error {
	var errs []error
	for some := range slices.Chunk(chosen, endings) {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		failed, err := r.keepSome(ctx, some, which)
		if errs = append(errs, failed...); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(errs...)
}

// ending is a conflict that is about to end.
type ending struct {
	*vol.Conflict
	kept   vol.Sibling
	absent string // what is to be said of content that is not here
}

func (r *resolver) keepSome(ctx context.Context, chosen []vol.Conflict, which string) (failed []error, err error) {
	var ends []ending
	var how []vol.Ending
	for i := range chosen {
		c := &chosen[i]
		e, err := r.choose(c, which)
		if err != nil {
			failed = append(failed, r.failed(c, err))
			continue
		}
		kept := []vol.Sibling{e}
		if which == "both" {
			kept = c.Siblings
		}
		ends = append(ends, ending{c, e, r.absent(ctx, c, kept)})
		how = append(how, vol.Ending{Path: c.Path, Seen: c.Dots(), Keep: e.Dot, Both: which == "both"})
	}
	if err := r.v.vol.ResolveAll(ctx, how); err != nil {
		return failed, fmt.Errorf("resolve in %s: %w", r.v.name, err)
	}
	for i, e := range ends {
		switch {
		case how[i].Err != nil:
			failed = append(failed, r.failed(e.Conflict, how[i].Err))
		case how[i].Both:
			r.noteBoth(e, how[i].Names)
		default:
			r.note(e.Conflict, "kept the %s of %s from %s%s", kindName(e.kept.Kind), r.names.label(e.kept.Dot),
				time.Unix(0, e.kept.MTime).UTC().Format(time.RFC3339), e.absent)
		}
	}
	return failed, nil
}

func (r *resolver) noteBoth(e ending, names []string) {
	dir := strings.TrimSuffix(e.Path, path.Base(e.Path))
	for i := range names {
		names[i] = r.v.name + "/" + dir + names[i]
	}
	r.note(e.Conflict, "kept all %d versions: the others are %s now%s", len(e.Siblings), strings.Join(names, ", "), e.absent)
}

// absent says that the content of a version is not here, if it is so.
func (r *resolver) absent(ctx context.Context, c *vol.Conflict, siblings []vol.Sibling) string {
	var missing []string
	for _, s := range siblings {
		if s.Dot == (merge.Dot{}) {
			continue
		}
		if here, err := r.v.vol.SiblingHere(ctx, c.Path, s.Dot); err == nil && !here {
			missing = append(missing, r.names.label(s.Dot))
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return " (the content of the version of " + strings.Join(missing, ", ") + " is not on this device yet)"
}

// choose picks the version that a user's word means. It must be one; with both
// it does not matter.
func (r *resolver) choose(c *vol.Conflict, which string) (vol.Sibling, error) {
	if which == "newest" || which == "both" {
		return slices.MinFunc(c.Siblings, later), nil
	}
	var found []vol.Sibling
	files := versionFiles(c, r.names)
	for i, s := range c.Siblings {
		if which == files[i] || r.means(which, s) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return vol.Sibling{}, ctlfs.Errorf(syscall.EINVAL, "%q means %d of the %d versions: say newest, both, or one of %s",
			which, len(found), len(files), ctlfs.Join(files))
	}
	return found[0], nil
}

func (r *resolver) means(which string, s vol.Sibling) bool {
	switch which {
	case "mine":
		return s.Shown
	case "theirs":
		return !s.Shown
	default:
		return r.names.called(which, s.Dot)
	}
}
