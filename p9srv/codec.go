package p9srv

import "encoding/binary"

// Decoder takes the fields of a message off its bytes, in order. Once a
// field is not all there, that and every later one reads as zero and Bad is
// true. It allocates only in String.
type Decoder struct {
	b   []byte
	bad bool
}

// NewDecoder reads the body of a message, behind its header.
func NewDecoder(body []byte) Decoder { return Decoder{b: body} }

// Bad is true once a field was asked for that the message did not hold.
func (d *Decoder) Bad() bool { return d.bad }

// Len is the number of bytes not read yet.
func (d *Decoder) Len() int { return len(d.b) }

// Bytes takes n bytes; they stand in the message's own memory.
func (d *Decoder) Bytes(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

// U8 takes a byte.
func (d *Decoder) U8() uint8 {
	if p := d.Bytes(1); p != nil {
		return p[0]
	}
	return 0
}

// U16 takes two bytes.
func (d *Decoder) U16() uint16 {
	if p := d.Bytes(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

// U32 takes four bytes.
func (d *Decoder) U32() uint32 {
	if p := d.Bytes(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

// U64 takes eight bytes.
func (d *Decoder) U64() uint64 {
	if p := d.Bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// StringBytes takes a string, length[2] and bytes, without copying it.
func (d *Decoder) StringBytes() []byte { return d.Bytes(int(d.U16())) }

// String takes a string.
func (d *Decoder) String() string { return string(d.StringBytes()) }

// QID takes a qid: type[1] version[4] path[8].
func (d *Decoder) QID() QID {
	return QID{Type: QIDType(d.U8()), Version: d.U32(), Path: d.U64()}
}

// The append functions add fields to a message.

func put16(b []byte, v uint16) []byte { return binary.LittleEndian.AppendUint16(b, v) }
func put32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func put64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

// AppendString adds length[2] and the bytes of s, at most 65535 of them.
func AppendString(b []byte, s string) []byte {
	if len(s) > 0xffff {
		s = s[:0xffff]
	}
	return append(put16(b, uint16(len(s))), s...)
}

// AppendQID adds type[1] version[4] path[8].
func AppendQID(b []byte, q QID) []byte {
	return put64(put32(append(b, byte(q.Type)), q.Version), q.Path)
}

// FinishMessage sets the size of the message that starts at b[0].
func FinishMessage(b []byte, size int) {
	binary.LittleEndian.PutUint32(b, uint32(size))
}
