package vol

import (
	"fmt"
	"slices"

	"bazil/merge"
)

// recordVersion is the version of the encoding below.
const recordVersion = 1

// The bits of a record's second byte.
const (
	flagImplied = 1 << iota
	flagDevice
	flagBlock
	flagConflict
)

// recordHead is what a listing needs of a record: the bytes that come first.
type recordHead struct {
	kind     merge.Kind
	block    bool
	conflict bool
	ino      uint64
	change   uint64
}

// appendRecord appends the encoding of r, drawn in the package comment.
func appendRecord(b []byte, r *record) []byte {
	e := encoder{b: b, base: r.CTime}
	e.byte(recordVersion)
	e.byte(r.flags())
	e.byte(byte(r.kind()))
	e.uint(r.Ino)
	e.uint(r.Change)
	e.uint(r.Sub)
	e.nameEntry(&r.Entry)
	e.name(r.Shown)
	e.table()
	e.dot(r.Shown)
	e.uint(r.Rdev)
	e.fixed(uint64(r.CTime))
	e.time(r.ATime)
	e.time(r.MTime)
	e.time(r.BTime)
	e.entry(&r.Entry)
	if r.Device {
		e.attr(&r.Own)
	}
	return e.b
}

func (r *record) flags() (f byte) {
	for i, set := range []bool{r.Implied, r.Device, r.Block, r.conflict()} {
		if set {
			f |= 1 << i
		}
	}
	return f
}

// nameEntry puts the replicas of an entry in the table.
func (e *encoder) nameEntry(x *merge.Entry) {
	e.name(x.Ctx...)
	for i := range x.Versions {
		e.name(x.Versions[i].Dot)
		e.name(x.Versions[i].MStamp.Dot)
	}
	for i := range x.Attrs {
		e.name(x.Attrs[i].Dots...)
		e.name(x.Attrs[i].Stamp.Dot)
	}
}

func (e *encoder) entry(x *merge.Entry) {
	e.dots(x.Ctx)
	e.uint(uint64(len(x.Versions)))
	for i := range x.Versions {
		e.version(&x.Versions[i])
	}
	e.uint(uint64(len(x.Attrs)))
	for i := range x.Attrs {
		e.attr(&x.Attrs[i])
	}
}

func (e *encoder) version(v *merge.Version) {
	e.uint(1)
	e.dot(v.Dot)
	e.byte(byte(v.Kind))
	e.string(v.Content)
	e.int(v.Size)
	e.time(v.MTime)
	e.stamp(v.MStamp)
}

func (e *encoder) attr(a *merge.Attr) {
	e.stamp(a.Stamp)
	e.dots(a.Dots)
	e.uint(uint64(a.Mode))
	e.uint(uint64(a.UID))
	e.uint(uint64(a.GID))
	e.xattrs(a.Xattrs)
}

// decodeHead reads the beginning of an encoded record.
func decodeHead(b []byte) (recordHead, error) {
	d := decoder{b: b}
	h := d.head()
	return h, d.err
}

func (d *decoder) head() recordHead {
	if v := d.byte(); v != recordVersion && d.err == nil {
		d.fail(unknownVersion("record", v, recordVersion))
	}
	f := d.byte()
	return recordHead{
		kind:     merge.Kind(d.byte()),
		block:    f&flagBlock != 0,
		conflict: f&flagConflict != 0,
		ino:      d.uint(),
		change:   d.uint(),
	}
}

// decodeRecord reads what appendRecord wrote.
func decodeRecord(b []byte) (*record, error) {
	if len(b) < 2 {
		return nil, errShort
	}
	d := decoder{b: b}
	flags := b[1]
	h := d.head()
	r := &record{Ino: h.ino, Change: h.change, Sub: d.uint()}
	r.Implied, r.Device, r.Block = flags&flagImplied != 0, flags&flagDevice != 0, flags&flagBlock != 0
	d.table()
	r.Shown = d.dot()
	r.Rdev = d.uint()
	d.base = int64(d.fixed())
	r.CTime, r.ATime, r.MTime, r.BTime = d.base, d.time(), d.time(), d.time()
	r.Entry = d.entry()
	if r.Device {
		r.Own = d.attr()
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if err := checkEntry(&r.Entry); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if r.kind() != h.kind {
		return nil, fmt.Errorf("record: %w", errMalformed)
	}
	return r, nil
}

func (d *decoder) entry() (x merge.Entry) {
	x.Ctx = d.context()
	if n := d.count(7); n > 0 {
		x.Versions = make([]merge.Version, 0, n)
	}
	for range cap(x.Versions) {
		x.Versions = d.versions(x.Versions)
	}
	slices.SortFunc(x.Versions, func(a, b merge.Version) int { return a.Dot.Compare(b.Dot) })
	if n := d.count(7); n > 0 {
		x.Attrs = make([]merge.Attr, n)
	}
	for i := range x.Attrs {
		x.Attrs[i] = d.attr()
	}
	return x
}

// versions appends a version to vs, and once more for each further dot.
func (d *decoder) versions(vs []merge.Version) []merge.Version {
	dots := d.dots()
	v := merge.Version{Kind: merge.Kind(d.byte()), Content: d.string(), Size: d.int(), MTime: d.time(), MStamp: d.stamp()}
	if len(dots) == 0 {
		d.fail(errMalformed)
	}
	for _, v.Dot = range dots {
		vs = append(vs, v)
	}
	return vs
}

func (d *decoder) attr() merge.Attr {
	a := merge.Attr{Stamp: d.stamp(), Dots: d.dots(), Mode: d.uint32(), UID: d.uint32(), GID: d.uint32()}
	a.Xattrs = d.xattrs()
	return a
}
