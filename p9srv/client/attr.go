package client

import (
	"context"
	"time"

	"bazil/p9srv"
)

// Attr is what stat(2) says of the file.
func (f *Fid) Attr(ctx context.Context) (p9srv.Attr, error) {
	_, a, err := f.Stat(ctx)
	return a, err
}

// Stat is Attr, and the qid that goes with it.
func (f *Fid) Stat(ctx context.Context) (p9srv.QID, p9srv.Attr, error) {
	k, err := f.call(ctx, p9srv.Tgetattr, func(b []byte) []byte { return put64(b, 0x3fff) })
	if err != nil {
		return p9srv.QID{}, p9srv.Attr{}, err
	}
	defer k.recycle()
	d := p9srv.NewDecoder(k.body)
	valid := d.U64()
	q := d.QID()
	a := p9srv.Attr{
		Mode: d.U32(), UID: d.U32(), GID: d.U32(), NLink: d.U64(), RDev: d.U64(),
		Size: d.U64(), BlockSize: d.U64(), Blocks: d.U64(),
		ATime: clock(&d), MTime: clock(&d), CTime: clock(&d), BTime: clock(&d),
	}
	if valid&0x800 == 0 {
		a.BTime = 0
	}
	return q, a, f.c.parsed(&d)
}

// clock takes seconds and nanoseconds.
func clock(d *p9srv.Decoder) int64 {
	sec, nsec := int64(d.U64()), int64(d.U64())
	const most = int64(1<<63-1)/int64(time.Second) - 1
	return min(max(sec, -most), most)*int64(time.Second) + min(max(nsec, 0), int64(time.Second)-1)
}

// putClock appends seconds and nanoseconds.
func putClock(b []byte, ns int64) []byte {
	sec, nsec := ns/int64(time.Second), ns%int64(time.Second)
	if nsec < 0 {
		sec, nsec = sec-1, nsec+int64(time.Second)
	}
	return put64(put64(b, uint64(sec)), uint64(nsec))
}

// SetAttr changes the attributes that a.Valid names, all or none.
func (f *Fid) SetAttr(ctx context.Context, a p9srv.SetAttr) error {
	return f.do(ctx, p9srv.Tsetattr, func(b []byte) []byte {
		b = put32(put32(put32(put32(b, uint32(a.Valid)), a.Mode), a.UID), a.GID)
		return putClock(putClock(put64(b, a.Size), a.ATime), a.MTime)
	})
}

// Statfs is what statfs(2) says of the file's filesystem.
func (f *Fid) Statfs(ctx context.Context) (p9srv.Statfs, error) {
	k, err := f.call(ctx, p9srv.Tstatfs, nothing)
	if err != nil {
		return p9srv.Statfs{}, err
	}
	defer k.recycle()
	d := p9srv.NewDecoder(k.body)
	s := p9srv.Statfs{
		Type: d.U32(), BSize: d.U32(), Blocks: d.U64(), BFree: d.U64(), BAvail: d.U64(),
		Files: d.U64(), FFree: d.U64(), FSID: d.U64(), NameLen: d.U32(),
	}
	return s, f.c.parsed(&d)
}

// Lock sets or drops a record lock. LockBlocked says that another's is in the
// way; to wait is the caller's.
func (f *Fid) Lock(ctx context.Context, l p9srv.LockRequest) (p9srv.LockStatus, error) {
	k, err := f.call(ctx, p9srv.Tlock, func(b []byte) []byte {
		b = put32(append(b, byte(l.Type)), l.Flags)
		return p9srv.AppendString(put32(put64(put64(b, l.Start), l.Length), l.ProcID), l.Client)
	})
	if err != nil {
		return p9srv.LockError, err
	}
	defer k.recycle()
	d := p9srv.NewDecoder(k.body)
	status := p9srv.LockStatus(d.U8())
	return status, f.c.parsed(&d)
}

// GetLock asks for a lock in the way of l; its Type is LockUnlock if there is
// none.
func (f *Fid) GetLock(ctx context.Context, l p9srv.LockRequest) (p9srv.LockRequest, error) {
	k, err := f.call(ctx, p9srv.Tgetlock, func(b []byte) []byte {
		b = put64(put64(append(b, byte(l.Type)), l.Start), l.Length)
		return p9srv.AppendString(put32(b, l.ProcID), l.Client)
	})
	if err != nil {
		return p9srv.LockRequest{}, err
	}
	defer k.recycle()
	d := p9srv.NewDecoder(k.body)
	got := p9srv.LockRequest{Type: p9srv.LockType(d.U8()), Start: d.U64(), Length: d.U64(), ProcID: d.U32(), Client: d.String()}
	return got, f.c.parsed(&d)
}
