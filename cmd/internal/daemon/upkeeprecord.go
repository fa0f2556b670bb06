package daemon

import (
	"context"
	"errors"
	"time"

	"bazil/ctlfs"
	"bazil/store"
)

// upkeepTable has what is remembered of looking after the store.
const upkeepTable = "upkeep"

// Its keys.
const (
	usageKey = "usage"
	scrubKey = "scrub"
	autoKey  = "auto"
)

// usageRecord is what the last collection, or dry run, counted.
type usageRecord struct {
	At      int64            `cbor:"1,keyasint"` // Unix nanoseconds
	Live    int64            `cbor:"2,keyasint"` // sealed bytes of chunks that something refers to
	Dead    int64            `cbor:"3,keyasint"` // and of those that nothing does
	Free    int64            `cbor:"4,keyasint"` // bytes of files that a collection would free
	Unique  int64            `cbor:"5,keyasint"` // bytes of content in the chunks that something refers to
	Volumes map[string]int64 `cbor:"6,keyasint"` // the same, of each volume with its snapshots
}

// scrubRecord is how far a scrub is, or what the last one found.
type scrubRecord struct {
	Next     uint32 `cbor:"1,keyasint,omitempty"` // the segment to go on with; 0: the last one was finished
	Started  int64  `cbor:"2,keyasint"`           // Unix nanoseconds
	Finished int64  `cbor:"3,keyasint,omitempty"`
	Chunks   int64  `cbor:"4,keyasint"` // read
	Bytes    int64  `cbor:"5,keyasint"`
	Damaged  int64  `cbor:"6,keyasint"` // found
	Repaired int64  `cbor:"7,keyasint"` // of these
}

// remembered reads a record of the table into x, which stays as it is if
// there is none.
func (d *Daemon) remembered(key string, x any) error {
	err := d.view(func(tx *store.Tx) error { return tx.Get(upkeepTable, key, x) })
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func (d *Daemon) remember(key string, x any) error {
	return d.update(func(tx *store.Tx) error { return tx.Put(upkeepTable, key, x) })
}

// storeStatus tells what the store holds: what it knows now, and what the last
// collection counted.
func (d *Daemon) storeStatus() ctlfs.Record {
	s := d.store.Chunks().Stats()
	logical := d.logical()
	r := ctlfs.Rec("store", localBackend, "chunks", number(s.Chunks), "bytes", number(s.Bytes),
		"segments", number(s.Segments), "disk", number(s.Disk), "logical", number(logical), "damaged", number(int64(len(d.store.Chunks().Damaged()))))
	var u usageRecord
	if err := d.remembered(usageKey, &u); err == nil && u.At != 0 {
		r = append(r, ctlfs.Rec("counted", stamp(time.Unix(0, u.At)), "unique", number(u.Unique), "stored", number(u.Live),
			"dead", number(u.Dead), "free", number(u.Free), "dedup", ratio(logical, u.Unique), "ratio", ratio(logical, u.Live))...)
	}
	var scrub scrubRecord
	if err := d.remembered(scrubKey, &scrub); err == nil && scrub.Finished != 0 {
		r = append(r, ctlfs.Rec("scrubbed", stamp(time.Unix(0, scrub.Finished)))...)
	}
	return append(r, ctlfs.Rec("auto", d.autoWord())...)
}

// logical is the sizes of all files in all volumes.
func (d *Daemon) logical() (sum int64) {
	for _, name := range d.VolumeNames() {
		if v, _, ok := d.Volume(name); ok {
			if s, err := v.Stats(context.Background()); err == nil {
				sum += s.LogicalBytes
			}
		}
	}
	return sum
}

// ratio is a quotient with two decimals.
func ratio(a, b int64) string {
	if b <= 0 {
		return ""
	}
	hundredths := a * 100 / b
	return number(hundredths/100) + "." + number(hundredths/10%10) + number(hundredths%10)
}

// usageOf tells of a volume's snapshots, and what the last collection counted
// of its content.
func (d *Daemon) usageOf(ctx context.Context, v *openVolume) ctlfs.Record {
	var r ctlfs.Record
	if all, err := v.vol.Snapshots(ctx); err == nil && len(all) > 0 {
		r = ctlfs.Rec("snapshots", number(int64(len(all))))
	}
	var u usageRecord
	if err := d.remembered(usageKey, &u); err != nil {
		return r
	}
	if n, ok := u.Volumes[v.name]; ok {
		r = append(r, ctlfs.Rec("unique", number(n))...)
	}
	return r
}
