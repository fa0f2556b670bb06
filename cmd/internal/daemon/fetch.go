package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/noiseconn"
	"bazil/store"
)

const (
	// fetchPatience is how long one storage may take for a chunk before the
	// next one is asked.
	fetchPatience = 15 * time.Second
	// defaultReadDeadline is how long all of them may take together.
	defaultReadDeadline = 30 * time.Second
)

// volumeFetcher gets chunks that are not here from the volume's other storage.
type volumeFetcher struct {
	d       *Daemon
	name    string
	storage []string // nil: as the volume's record says
}

// Fetch asks the volume's storage in order, and gives up at the deadline for
// reads. What comes back is verified by who asked.
func (f volumeFetcher) Fetch(ctx context.Context, id store.ID) ([]byte, error) {
	links, err := f.links()
	if err != nil {
		return nil, err
	}
	if len(links) == 0 {
		return nil, fmt.Errorf("chunk %v is not here, and volume %q has no other storage: %w", id, f.name, store.ErrNotFound)
	}
	deadline := time.Now().Add(f.d.readDeadline())
	var errs []error
	for i, l := range links {
		patience := min(time.Until(deadline)/time.Duration(len(links)-i), fetchPatience)
		sealed, err := l.fetch(ctx, id, patience)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			f.noteRead(l, nil)
			return sealed, nil
		}
		f.noteRead(l, err)
		errs = append(errs, fmt.Errorf("peer %s: %w", f.d.peerLabel(l.key), err))
	}
	return nil, fmt.Errorf("chunk %v is not here, and no storage of volume %q gave it: %w", id, f.name, errors.Join(errs...))
}

func (d *Daemon) readDeadline() time.Duration {
	if d.o.ReadDeadline > 0 {
		return d.o.ReadDeadline
	}
	return defaultReadDeadline
}

// links are the peers that may have the volume's chunks: those among its
// storage, in order, those that it follows, that it was connected to.
func (f volumeFetcher) links() (all []*link, err error) {
	e := volumeEntry{volumeRecord: volumeRecord{Storage: f.storage}}
	if f.storage == nil {
		if e, err = (volumeObject{f.d, f.name}).entry(); err != nil {
			return nil, err
		}
	}
	return f.d.originLinks(e)
}

// originLinks are the links to a volume's origins, those that were removed
// left out.
func (d *Daemon) originLinks(e volumeEntry) (all []*link, err error) {
	var keys []noiseconn.PublicKey
	err = d.view(func(tx *store.Tx) error {
		for _, ref := range e.origins() {
			p, err := findPeer(tx, ref)
			if errors.Is(err, syscall.ENOENT) {
				continue // it was removed
			}
			if err != nil {
				return err
			}
			keys = append(keys, p.key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		l, err := d.links.get(d, key)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// origins are the keys of the peers that may have the volume's chunks, in the
// order in which they are asked.
func (e volumeEntry) origins() (keys []string) {
	for _, backend := range e.Storage {
		if key, ok := strings.CutPrefix(backend, peerBackendPrefix); ok {
			keys = append(keys, key)
		}
	}
	for _, key := range append(slices.Clone(e.Follow), e.OriginPeer) {
		if key != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// fetch asks one peer, with a deadline.
func (l *link) fetch(ctx context.Context, id store.ID, patience time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sealed, err := l.storage.Fetch(ctx, id)
	if errors.Is(err, context.DeadlineExceeded) {
		err = ctlfs.Errorf(syscall.ETIMEDOUT, "no answer in %v", patience.Round(time.Millisecond))
	}
	return sealed, err
}
