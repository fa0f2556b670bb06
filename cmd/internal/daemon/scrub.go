package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"bazil/ctlfs"
	"bazil/store"
)

// storeScrub reads all chunks. It goes on where one was cut short.
func (d *Daemon) storeScrub(ctx context.Context, c *ctlfs.Call) error {
	rate, err := parseRate(c.Arg("rate"))
	if err != nil {
		return err
	}
	t, err := d.tasks.begin("store scrub")
	if err != nil {
		return err
	}
	defer t.end()
	var r scrubRecord
	if err := d.remembered(scrubKey, &r); err != nil {
		return err
	}
	if r.Next == 0 || c.Has("restart") {
		r = scrubRecord{Started: time.Now().UnixNano()}
	}
	if err := d.scrub(ctx, t, &r, rate); err != nil {
		return err
	}
	d.event("store.scrub", "chunks", number(r.Chunks), "damaged", number(r.Damaged), "repaired", number(r.Repaired))
	if left := len(d.store.Chunks().Damaged()); left > 0 {
		return ctlfs.Errorf(syscall.EIO, "scrub read %d chunks of %d bytes: %d are damaged and have no good copy: store repair tries again when a peer that has them can be reached",
			r.Chunks, r.Bytes, left)
	}
	c.Records([]ctlfs.Record{ctlfs.Rec("scrub", localBackend, "chunks", number(r.Chunks), "bytes", number(r.Bytes),
		"damaged", number(r.Damaged), "repaired", number(r.Repaired))})
	return nil
}

// scrub goes on with a scrub and remembers how far it came.
func (d *Daemon) scrub(ctx context.Context, t *task, r *scrubRecord, rate int64) error {
	before := *r
	p, err := d.store.Chunks().Scrub(ctx, store.ScrubOptions{
		From: r.Next, BytesPerSecond: rate, Repair: d.goodCopy,
		Progress: func(p store.ScrubProgress) {
			t.at("chunks", number(before.Chunks+p.Chunks), "bytes", number(before.Bytes+p.Bytes),
				"segments", number(int64(p.Done+p.Remaining)), "done", number(int64(p.Done)), "damaged", number(int64(len(p.Damaged))))
		},
	})
	r.Chunks, r.Bytes = r.Chunks+p.Chunks, r.Bytes+p.Bytes
	r.Damaged, r.Repaired = r.Damaged+int64(len(p.Damaged)), r.Repaired+p.Repaired
	r.Next = p.Next
	if err == nil {
		r.Next, r.Finished = 0, time.Now().UnixNano()
	}
	return errors.Join(err, d.remember(scrubKey, r))
}

// goodCopy looks for a chunk in memory, then asks peers for it: those that are
// storage of a volume first, then all whose location is known. What comes back
// is verified by who asked.
func (d *Daemon) goodCopy(ctx context.Context, id store.ID) ([]byte, error) {
	if sealed, ok := d.store.Chunks().Reseal(id); ok {
		return sealed, nil
	}
	links, err := d.copyLinks()
	if err != nil {
		return nil, err
	}
	if len(links) == 0 {
		return nil, fmt.Errorf("chunk %v: no peer is known that could have it: %w", id, store.ErrNotFound)
	}
	var errs []error
	for _, l := range links {
		sealed, err := l.fetch(ctx, id, fetchPatience)
		if err == nil {
			err = store.VerifyID(id, sealed)
		}
		if err == nil || ctx.Err() != nil {
			return sealed, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (d *Daemon) copyLinks() ([]*link, error) {
	var all volumeEntry // as if one volume had all storage
	err := d.view(func(tx *store.Tx) error {
		volumes, err := listVolumes(tx)
		for _, v := range volumes {
			for _, key := range v.origins() {
				all.Storage = append(all.Storage, peerBackendPrefix+key)
			}
		}
		if err != nil {
			return err
		}
		peers, err := listPeers(tx)
		for _, p := range peers {
			if p.Location != "" {
				all.Follow = append(all.Follow, p.key.String())
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(all.Storage)
	all.Storage = slices.Compact(all.Storage)
	return d.originLinks(all)
}

// storeRepair gets good copies of what is known to be damaged.
func (d *Daemon) storeRepair(ctx context.Context, c *ctlfs.Call) error {
	t, err := d.tasks.begin("store repair")
	if err != nil {
		return err
	}
	defer t.end()
	all := d.store.Chunks().Damaged()
	repaired, why := d.repairAll(ctx, all, func(i int) { t.at("chunks", number(int64(len(all))), "done", number(int64(i))) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if left := len(all) - repaired; left > 0 {
		return ctlfs.Errorf(syscall.EIO, "%d damaged chunks are repaired, %d are not: %v", repaired, left, why)
	}
	c.Records([]ctlfs.Record{ctlfs.Rec("repair", localBackend, "damaged", number(int64(len(all))), "repaired", number(int64(repaired)))})
	return nil
}

// repairAll repairs chunks one after the other; why is what kept it from the
// last one that was not.
func (d *Daemon) repairAll(ctx context.Context, ids []store.ID, progress func(i int)) (repaired int, why error) {
	for i, id := range ids {
		progress(i)
		err := d.repair(ctx, id)
		if ctx.Err() != nil {
			return repaired, ctx.Err()
		}
		if err != nil {
			why = err
			continue
		}
		repaired++
	}
	return repaired, why
}

// repair brings a good copy of a chunk, unless a read has already.
func (d *Daemon) repair(ctx context.Context, id store.ID) error {
	if !slices.Contains(d.store.Chunks().Damaged(), id) {
		return nil
	}
	sealed, err := d.goodCopy(ctx, id)
	if err != nil {
		return err
	}
	if _, err := d.store.Chunks().Put(ctx, id, sealed); err != nil {
		return err
	}
	d.event("chunk.repaired", "chunk", id.String())
	return nil
}

// foundDamage is told by the store of each damaged copy.
func (d *Daemon) foundDamage(id store.ID) {
	d.event("chunk.damaged", "chunk", id.String())
	select {
	case d.upkeep.damage <- struct{}{}:
	default:
	}
}

// keepRepairing repairs what reads find, and tries again what could not be
// repaired when a while has passed.
func (d *Daemon) keepRepairing(ctx context.Context) {
	for ctx.Err() == nil {
		all := d.store.Chunks().Damaged()
		repaired, why := d.repairAll(ctx, all, func(int) {})
		if why != nil && ctx.Err() == nil {
			d.log.Error("damaged chunks are not repaired", "chunks", len(all)-repaired, "err", why)
		}
		pause(ctx, upkeepPause, d.upkeep.damage)
	}
}
