package store

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// How a payload's content is written: the third byte of its header.
const (
	codecRaw  = 0
	codecZstd = 1 // one frame of Zstandard (RFC 8878) that states its content size
)

const (
	minCompress = 64       // shorter content is never compressed
	sampleFrom  = 32 << 10 // content from here on is sampled first
	samplePart  = 4 << 10
	sampleParts = 4
)

// codec compresses content where that pays. Encoders work on one goroutine
// each and are kept for reuse; their output may differ between releases, never
// what it expands to.
type codec struct {
	encoders *sync.Pool // of *encoder
	decoder  *zstd.Decoder
}

// encoder compresses on one goroutine. It has the fastest level: a tree of
// 16,700 source files and documents (298 MB) was taken in with it in 2.8 to 3.1
// s of processor time, with the default one in 3.2 to 4.3, and left 3% more.
type encoder struct {
	*zstd.Encoder
	sample, out []byte // for samplePays
}

func newCodec() codec {
	return codec{
		encoders: &sync.Pool{New: func() any { return &encoder{Encoder: newEncoder()} }},
		decoder:  newDecoder(),
	}
}

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),   // the seal authenticates
		zstd.WithSingleSegment(true), // states the content size, whatever it is
		zstd.WithWindowSize(MaxPlain),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("store: zstd encoder options: " + err.Error())
	}
	return e
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithDecoderMaxMemory(2*MaxPlain), // the header bounds it closer
		zstd.WithDecoderMaxWindow(MaxPlain))
	if err != nil {
		panic("store: zstd decoder options: " + err.Error())
	}
	return d
}

// append appends plain to dst in the shorter form and returns which that is.
func (c codec) append(dst, plain []byte) ([]byte, byte) {
	if len(plain) < minCompress {
		return append(dst, plain...), codecRaw
	}
	e := c.encoders.Get().(*encoder)
	defer c.encoders.Put(e)
	if len(plain) >= sampleFrom && !fewBytes(plain) && !e.samplePays(plain) {
		return append(dst, plain...), codecRaw
	}
	base := len(dst)
	dst = e.EncodeAll(plain, dst)
	if !pays(len(plain), len(dst)-base) {
		return append(dst[:base], plain...), codecRaw
	}
	return dst, codecZstd
}

// pays asks for a 32nd part saved, for which expanding is worth its time.
func pays(before, after int) bool { return after < before-before/32 }

// Pack appends plain, of at most MaxPlain bytes, to dst as one frame of
// Zstandard that states its size; Unpack, which must be told the size, gives
// it back. Nothing is sealed: it is for what is kept beside sealed chunks.
func (s *Sealer) Pack(dst, plain []byte) []byte {
	e := s.codec.encoders.Get().(*encoder)
	defer s.codec.encoders.Put(e)
	return e.EncodeAll(plain, dst)
}

// Unpack appends what Pack was given; ErrDamaged if packed is no frame of size
// bytes.
func (s *Sealer) Unpack(dst, packed []byte, size int) ([]byte, error) {
	return s.codec.expandZstd(dst, packed, size)
}

// fewBytes says whether a piece from the middle of plain is made of so few
// different bytes that any code for them saves a twentieth, as text is: then
// compressing a sample would tell nothing new.
func fewBytes(plain []byte) bool {
	var seen [256]bool
	n := 0
	for _, b := range plain[len(plain)/2:][:samplePart] {
		if !seen[b] {
			seen[b] = true
			n++
		}
	}
	return n < 192 // 2^7.6
}

// samplePays compresses pieces spread over plain.
func (e *encoder) samplePays(plain []byte) bool {
	e.sample = e.sample[:0]
	step := (len(plain) - samplePart) / (sampleParts - 1)
	for i := range sampleParts {
		e.sample = append(e.sample, plain[i*step:][:samplePart]...)
	}
	e.out = e.EncodeAll(e.sample, e.out[:0])
	return pays(len(e.sample), len(e.out))
}

// expand appends the content of a payload whose header has been checked up to
// the codec. It never makes more than the length the header states, which is
// at most MaxPlain.
func (c codec) expand(dst, payload []byte) ([]byte, error) {
	size := binary.LittleEndian.Uint32(payload[4:])
	content := payload[headerSize:]
	if size > MaxPlain {
		return dst, fmt.Errorf("%w: states %d bytes of content", ErrDamaged, size)
	}
	switch payload[2] {
	case codecRaw:
		if len(content) != int(size) {
			return dst, fmt.Errorf("%w: %d bytes of content, header says %d", ErrDamaged, len(content), size)
		}
		return append(dst, content...), nil
	case codecZstd:
		return c.expandZstd(dst, content, int(size))
	}
	return dst, fmt.Errorf("%w: codec %d", ErrVersion, payload[2])
}

func (c codec) expandZstd(dst, frame []byte, size int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if h.Skippable || !h.HasFCS || h.FrameContentSize != uint64(size) {
		return dst, fmt.Errorf("%w: compressed frame does not hold %d bytes", ErrDamaged, size)
	}
	base := len(dst)
	dst = slices.Grow(dst, size)
	out, err := c.decoder.DecodeAll(frame, dst)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(out)-base != size {
		return dst, fmt.Errorf("%w: expands to %d bytes, header says %d", ErrDamaged, len(out)-base, size)
	}
	return out, nil
}
