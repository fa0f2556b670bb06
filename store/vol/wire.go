package vol

import (
	"encoding/binary"
	"errors"

	"bazil/merge"
)

// errShort is what decoding gives for bytes that end too early or go on too
// long, and errMalformed for numbers that cannot stand where they do.
var (
	errShort     = errors.New("wrong length")
	errMalformed = errors.New("malformed")
)

// encoder appends the parts of a record. Replicas' IDs are written once, in a
// table, and dots refer to it.
type encoder struct {
	b        []byte
	replicas []merge.ReplicaID
	base     int64 // times are differences from it
}

func (e *encoder) byte(b byte)     { e.b = append(e.b, b) }
func (e *encoder) uint(n uint64)   { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)     { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) time(t int64)    { e.int(t - e.base) }
func (e *encoder) fixed(n uint64)  { e.b = binary.BigEndian.AppendUint64(e.b, n) }
func (e *encoder) string(s string) { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) bytes(s []byte)  { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) index(d merge.Dot) uint64 {
	for i, r := range e.replicas {
		if r == d.Replica {
			return uint64(i) + 1
		}
	}
	return 0
}

// name puts the replicas of dots in the table.
func (e *encoder) name(dots ...merge.Dot) {
	for _, d := range dots {
		if d.Replica != 0 && e.index(d) == 0 {
			e.replicas = append(e.replicas, d.Replica)
		}
	}
}

// table writes the table; after it, dots can be written.
func (e *encoder) table() {
	e.uint(uint64(len(e.replicas)))
	for _, r := range e.replicas {
		e.fixed(uint64(r))
	}
}

func (e *encoder) dot(d merge.Dot) {
	i := e.index(d)
	e.uint(i)
	if i > 0 {
		e.uint(d.N)
	}
}

func (e *encoder) dots(dots []merge.Dot) {
	e.uint(uint64(len(dots)))
	for _, d := range dots {
		e.dot(d)
	}
}

func (e *encoder) stamp(s merge.Stamp) {
	e.time(s.Time)
	e.dot(s.Dot)
}

// decoder takes the parts off again. The first error stays; what is taken
// after it is zero.
type decoder struct {
	b        []byte
	err      error
	replicas []merge.ReplicaID
	base     int64
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errShort)
		return 0
	}
	b := d.b[0]
	d.b = d.b[1:]
	return b
}

func (d *decoder) uint() uint64 {
	n, k := binary.Uvarint(d.b)
	if k <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[k:]
	return n
}

func (d *decoder) uint32() uint32 {
	n := d.uint()
	if n > 1<<32-1 {
		d.fail(errMalformed)
	}
	return uint32(n)
}

func (d *decoder) int() int64 {
	n, k := binary.Varint(d.b)
	if k <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[k:]
	return n
}

func (d *decoder) time() int64 { return d.base + d.int() }

func (d *decoder) fixed() uint64 {
	if len(d.b) < 8 {
		d.fail(errShort)
		return 0
	}
	n := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return n
}

// count takes the number of elements that follow, each of min bytes or more.
func (d *decoder) count(min int) int {
	n := d.uint()
	if n > uint64(len(d.b)/min) {
		d.fail(errShort)
		return 0
	}
	return int(n)
}

func (d *decoder) string() string { return string(d.take(d.count(1))) }

func (d *decoder) bytes() []byte { return append([]byte{}, d.take(d.count(1))...) }

func (d *decoder) take(n int) []byte {
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) table() {
	n := d.count(8)
	d.replicas = make([]merge.ReplicaID, n)
	for i := range d.replicas {
		d.replicas[i] = merge.ReplicaID(d.fixed())
	}
}

func (d *decoder) dot() merge.Dot {
	i := d.uint()
	if i == 0 || d.err != nil {
		return merge.Dot{}
	}
	if i > uint64(len(d.replicas)) {
		d.fail(errMalformed)
		return merge.Dot{}
	}
	return merge.Dot{Replica: d.replicas[i-1], N: d.uint()}
}

func (d *decoder) dots() []merge.Dot {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	dots := make([]merge.Dot, n)
	for i := range dots {
		dots[i] = d.dot()
	}
	return dots
}

func (d *decoder) stamp() merge.Stamp {
	t := d.time()
	return merge.Stamp{Time: t, Dot: d.dot()}
}

// context takes a context and checks it.
func (d *decoder) context() merge.Context {
	c := merge.Context(d.dots())
	if d.err == nil {
		if err := c.Valid(); err != nil {
			d.fail(err)
		}
	}
	return c
}

// end returns the error, if there was one or if bytes are left.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		return errShort
	}
	return d.err
}
