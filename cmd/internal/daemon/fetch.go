package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bazil/noiseconn"
	"bazil/store"
)

// fetchPatience is how long one storage may take for a chunk before the next
// one is asked.
const fetchPatience = 15 * time.Second

// volumeFetcher gets chunks that are not here from the volume's other storage.
type volumeFetcher struct {
	d       *Daemon
	name    string
	storage []string // nil: as the volume's record says
}

// Fetch asks the volume's storage in order. What comes back is verified by
// who asked.
func (f volumeFetcher) Fetch(ctx context.Context, id store.ID) ([]byte, error) {
	links, err := f.links()
	if err != nil {
		return nil, err
	}
	if len(links) == 0 {
		return nil, fmt.Errorf("chunk %v is not here, and volume %q has no other storage: %w", id, f.name, store.ErrNotFound)
	}
	var errs []error
	for _, l := range links {
		sealed, err := l.fetch(ctx, id)
		if err == nil || ctx.Err() != nil {
			return sealed, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// links are the peers among the volume's storage, in order.
func (f volumeFetcher) links() ([]*link, error) {
	storage := f.storage
	if storage == nil {
		e, err := volumeObject{f.d, f.name}.entry()
		if err != nil {
			return nil, err
		}
		storage = e.Storage
	}
	return f.d.storageLinks(storage)
}

// storageLinks are the peers among storage backends, in order.
func (d *Daemon) storageLinks(storage []string) (all []*link, err error) {
	for _, backend := range storage {
		hex, ok := strings.CutPrefix(backend, peerBackendPrefix)
		if !ok {
			continue
		}
		key, err := noiseconn.ParsePublicKey(hex)
		if err != nil {
			return nil, err
		}
		l, err := d.links.get(d, key)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// fetch asks one peer, with a deadline.
func (l *link) fetch(ctx context.Context, id store.ID) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	return l.storage.Fetch(ctx, id)
}
