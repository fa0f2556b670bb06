package p9srv

import (
	"math/bits"
	"sync"
)

// buffer is memory for a frame or for data on its way out, borrowed from
// the pools of buffers and given back with release.
type buffer struct {
	b     []byte
	class int
}

// The classes of buffers are powers of two from 4 KiB to 16 MiB.
const (
	minBufferBits = 12
	maxBufferBits = 24
)

var bufferPools [maxBufferBits - minBufferBits + 1]sync.Pool

// newBuffer borrows a buffer of n bytes.
func newBuffer(n int) *buffer {
	class := max(bits.Len(uint(max(n, 1)-1))-minBufferBits, 0)
	if class >= len(bufferPools) {
		return &buffer{b: make([]byte, n), class: -1}
	}
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		b.b = b.b[:n]
		return b
	}
	return &buffer{b: make([]byte, n, 1<<(class+minBufferBits)), class: class}
}

// release gives the buffer back; nil has nothing to give.
func (b *buffer) release() {
	if b != nil && b.class >= 0 {
		bufferPools[b.class].Put(b)
	}
}
