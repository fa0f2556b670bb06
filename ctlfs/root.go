package ctlfs

import (
	"context"

	"bazil/p9srv"
)

// rootEntries is what /ctl holds.
func (fs *FS) rootEntries(_ context.Context, d *dir) ([]entry, error) {
	entries := []entry{
		{"ctl", func() p9srv.Node { return d.ctl(scope{}, fs.o.System.Config) }},
		{"pubkey", func() p9srv.Node { return d.text("pubkey", pubkey(fs.o.System)) }},
		{"status", func() p9srv.Node { return d.text("status", status(fs.o.System)) }},
		{"log", func() p9srv.Node { return d.log(nil) }},
		{"peers", func() p9srv.Node { return d.collection("peers", KindPeer, fs.o.Peers) }},
		{"sharing", func() p9srv.Node { return d.sharing() }},
		{"volumes", func() p9srv.Node { return d.collection("volumes", KindVolume, fs.o.Volumes) }},
		{"exports", func() p9srv.Node { return d.collection("exports", KindExport, fs.o.Exports) }},
	}
	if o, ok := fs.o.System.(Watched); ok {
		entries = append(entries, entry{"changes", func() p9srv.Node { return d.changes(o) }})
	}
	return entries, nil
}

// collection is the directory of all objects of a kind.
func (d *dir) collection(name string, k Kind, c Collection) *dir {
	list := func(ctx context.Context, d *dir) ([]entry, error) {
		names, err := c.Names(ctx)
		if err != nil {
			return nil, asError(err)
		}
		entries := make([]entry, len(names))
		for i, n := range names {
			// Only the QID of this node is asked for.
			entries[i] = entry{n, func() p9srv.Node { return d.sub(n, nil) }}
		}
		return entries, nil
	}
	sub := d.sub(name, list)
	sub.find = func(ctx context.Context, d *dir, name string) (p9srv.Node, error) {
		o, err := c.Get(ctx, name)
		if err != nil {
			return nil, asError(err)
		}
		return d.object(k, o), nil
	}
	return sub
}

// object is the directory of one peer, volume or export.
func (d *dir) object(k Kind, o Object) *dir {
	list := func(_ context.Context, d *dir) ([]entry, error) {
		entries := []entry{
			{"ctl", func() p9srv.Node { return d.ctl(scope{k, o.Name()}, o.Config) }},
			{"status", func() p9srv.Node { return d.text("status", status(o)) }},
		}
		if o, ok := o.(Keyed); ok {
			entries = append(entries, entry{"pubkey", func() p9srv.Node { return d.text("pubkey", pubkey(o)) }})
		}
		if o, ok := o.(Logged); ok {
			entries = append(entries, entry{"log", func() p9srv.Node { return d.log(o.Logs) }})
		}
		if o, ok := o.(Watched); ok {
			entries = append(entries, entry{"changes", func() p9srv.Node { return d.changes(o) }})
		}
		if o, ok := o.(Conflicted); ok {
			entries = append(entries, entry{"conflicts", func() p9srv.Node { return d.conflicts(o) }})
		}
		return entries, nil
	}
	return d.sub(o.Name(), list)
}

// pubkey renders a pubkey file.
func pubkey(o Keyed) render {
	return func(context.Context) ([]byte, error) { return []byte(o.PublicKey() + "\n"), nil }
}

// status renders a status file.
func status(o interface {
	Status(ctx context.Context) ([]Record, error)
}) render {
	return func(ctx context.Context) ([]byte, error) {
		records, err := o.Status(ctx)
		return lines(records), err
	}
}
