package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"

	"bazil/ctlfs"
	"bazil/merge/replica"
	"bazil/store/vol"
)

// pull joins the peer's copy of a volume with the one here, and fetches the
// content that came with it: from that peer, and what it lacks or may not
// give from the volume's other storage. The keeper does the latter where
// nobody waits for it, as with a lazy volume.
func (d *Daemon) pull(ctx context.Context, v *openVolume, remote string, l *link, o syncOptions, now *atomic.Pointer[syncProgress]) (ctlfs.Record, error) {
	at := *now.Load()
	told := func(phase string, result *replica.Result) func(replica.Result) {
		return func(r replica.Result) {
			*result, at.phase = r, phase
			next := at
			now.Store(&next)
		}
	}
	pulled, err := v.replica.Pull(ctx, l.client.Volume(remote), replica.Options{Progress: told(phaseNames, &at.names), Under: o.under})
	r := ctlfs.Rec("dirs", number(int64(pulled.Dirs)), "changed", number(int64(pulled.Changed)))
	if err != nil {
		return r, err
	}
	e, err := volumeObject{d, v.name}.entry()
	if err != nil {
		return r, err
	}
	if !o.waits(e) {
		v.keeper.kick()
		return r, nil
	}
	fetched, err := d.fetchContent(ctx, v, l, o.under, told(phaseContent, &at.content))
	r = append(r, ctlfs.Rec("files", number(int64(fetched.Files)), "missing", count(fetched.Missing),
		"chunks", number(int64(fetched.Chunks)), "bytes", number(fetched.Bytes))...)
	return r, err
}

// count is a number that is told only if there is any.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return number(int64(n))
}

// fetchContent gets the volume's content that is to be here and is not, below
// a path if one is given: from the peer of l, if there is one, and from the
// volume's other storage. One does it at a time: what it finds is what all want.
func (d *Daemon) fetchContent(ctx context.Context, v *openVolume, l *link, under string, progress func(replica.Result)) (sum replica.Result, err error) {
	select {
	case v.fetching <- struct{}{}:
		defer func() { <-v.fetching }()
	case <-ctx.Done():
		return sum, ctx.Err()
	}
	o, err := d.fetchOptions(v.name, under)
	if err != nil {
		return sum, err
	}
	links, err := volumeFetcher{d: d, name: v.name}.links()
	if err != nil {
		return sum, err
	}
	if l != nil {
		links = append([]*link{l}, slices.DeleteFunc(links, func(o *link) bool { return o == l })...)
	}
	var errs []error
	for _, from := range links {
		done := sum
		o.Progress = func(got replica.Result) {
			if progress != nil {
				progress(add(done, got))
			}
		}
		got, err := v.replica.Fetch(ctx, from.client.Volume(v.name), o)
		sum = add(done, got)
		if err == nil && got.Missing == 0 || ctx.Err() != nil {
			return sum, err
		}
		if err != nil {
			err = fmt.Errorf("peer %s: %w", d.peerLabel(from.key), err)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return sum, fmt.Errorf("the names are here, but not all content: %w", err)
	}
	if sum.Missing == 0 { // there was nobody to ask
		return sum, d.nobodyToAsk(ctx, v, o)
	}
	return sum, ctlfs.Errorf(syscall.EIO, "the names are here, but of %d files no storage has all content", sum.Missing)
}

// add is what two fetches did; what is missing is what the latter missed.
func add(a, b replica.Result) replica.Result {
	a.Files, a.Missing = a.Files+b.Files, b.Missing
	a.Chunks, a.Bytes = a.Chunks+b.Chunks, a.Bytes+b.Bytes
	return a
}

// nobodyToAsk is the error of a volume that lacks content and has no storage
// but its own.
func (d *Daemon) nobodyToAsk(ctx context.Context, v *openVolume, o replica.Options) error {
	lacking, err := d.lacking(ctx, v, o.Only, 1)
	if err != nil || len(lacking) == 0 {
		return err
	}
	return ctlfs.Errorf(syscall.EIO, "content is missing, as of %q, and volume %q has no storage on a peer: volume storage add tells one", lacking[0].Path, v.name)
}

// lacking returns up to n files whose content is to be here and may not be.
func (d *Daemon) lacking(ctx context.Context, v *openVolume, only func(vol.Want) bool, n int) (out []vol.Want, err error) {
	for after := uint64(0); len(out) < n; {
		wants, err := v.vol.Wanted(ctx, after, 1024)
		if err != nil || len(wants) == 0 {
			return out, err
		}
		after = wants[len(wants)-1].Seq
		for _, w := range wants {
			if (only == nil || only(w)) && len(out) < n {
				out = append(out, w)
			}
		}
	}
	return out, nil
}
