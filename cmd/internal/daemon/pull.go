package daemon

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"bazil/ctlfs"
	"bazil/merge/replica"
)

// pull joins the peer's copy of a volume with the one here, and fetches the
// content that came with it: from that peer, and what it lacks or may not
// give from the volume's other storage.
func (d *Daemon) pull(ctx context.Context, v *openVolume, remote string, l *link) (ctlfs.Record, error) {
	pulled, err := v.replica.Pull(ctx, l.client.Volume(remote), replica.Options{})
	r := ctlfs.Rec("dirs", number(int64(pulled.Dirs)), "changed", number(int64(pulled.Changed)))
	if err != nil {
		return r, err
	}
	fetched, err := d.fetchContent(ctx, v, remote, l)
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

// fetchContent gets the volume's content that is not here. One does it at a
// time: what it finds is what all want.
func (d *Daemon) fetchContent(ctx context.Context, v *openVolume, remote string, l *link) (sum replica.Result, err error) {
	select {
	case v.fetching <- struct{}{}:
		defer func() { <-v.fetching }()
	case <-ctx.Done():
		return sum, ctx.Err()
	}
	others, err := volumeFetcher{d, v.name, nil}.links()
	if err != nil {
		return sum, err
	}
	var errs []error
	for i, from := range append([]*link{l}, others...) {
		if i > 0 && from == l {
			continue
		}
		got, err := v.replica.Fetch(ctx, from.client.Volume(remote), replica.Options{})
		sum.Files, sum.Missing = sum.Files+got.Files, got.Missing
		sum.Chunks, sum.Bytes = sum.Chunks+got.Chunks, sum.Bytes+got.Bytes
		if err == nil && got.Missing == 0 || ctx.Err() != nil {
			return sum, err
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return sum, fmt.Errorf("the names are here, but not all content: %w", err)
	}
	return sum, ctlfs.Errorf(syscall.EIO, "the names are here, but of %d files no storage has all content", sum.Missing)
}
