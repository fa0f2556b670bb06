package store

import (
	"fmt"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	"github.com/PlakarKorp/go-cdc-chunkers/chunkers/jc"
)

// Sizes of the chunks that a Splitter cuts, in bytes. The average is a little
// more than AvgSplit; only the last chunk of a file is shorter than MinSplit.
const (
	MinSplit = 64 << 10
	AvgSplit = 256 << 10
	MaxSplit = MaxPlain
)

// Splitter finds content-defined boundaries: where to cut depends on nothing
// but the bytes since the last cut and the sharing key, so that an edit moves
// the boundaries near it and no others, and nobody without the key learns a
// file from its chunks' lengths.
//
// The algorithm is the jump-based chunking of Jin and others (IEEE TPDS 2023)
// as the library names it, jc-v1.0.0, with a gear table keyed by
// HKDF(sharing key, "bazil/v1/split"). It is half as expensive here as
// FastCDC and shares as much after edits. Golden vectors freeze it. The library
// makes the table; its loop, written here once more for a bound of the slice
// that is known, takes half the time.
//
// A Splitter is safe for concurrent use: it keeps nothing between calls.
type Splitter struct {
	gear *[256]uint64
}

// The algorithm's constants for AvgSplit. The bits of the masks are spread so
// that the last 48 bytes count.
const (
	splitOnes  = 17 // one less than the logarithm of AvgSplit
	splitJump  = 1 << (splitOnes + splitOnes - 1) / (1<<splitOnes - 1<<(splitOnes-1))
	splitMaskC = 0x9249249249248000            // where to cut: 17 bits, each third from the top
	splitMaskJ = splitMaskC & (splitMaskC - 1) // where to jump: all but the lowest of them
)

// NewSplitter returns the splitter of the sealer's sharing key.
func (s *Sealer) NewSplitter() *Splitter {
	var alg jc.JC
	err := alg.Setup(&chunkers.ChunkerOpts{MinSize: MinSplit, NormalSize: AvgSplit, MaxSize: MaxSplit, Key: s.splitKey[:]})
	if err != nil {
		panic(fmt.Sprintf("store: set up the splitter: %v", err))
	}
	return &Splitter{gear: alg.G}
}

// Next returns the length of the first chunk in data, which starts at a
// boundary. Final says that data reaches to the end of the file. 0 means that
// the boundary cannot be told yet: data is not final and shorter than
// MaxSplit. No data gives 0.
func (p *Splitter) Next(data []byte, final bool) int {
	if len(data) < MaxSplit && !final {
		return 0
	}
	if len(data) <= AvgSplit {
		return len(data)
	}
	data = data[:min(len(data), MaxSplit)]
	for i := MinSplit; i < len(data); i += splitJump {
		n, cut := p.scan(data[i:])
		if i += n; cut {
			return i
		}
	}
	return len(data)
}

// scan returns how many bytes there are before the first place to cut or to
// jump, and which that is.
func (p *Splitter) scan(data []byte) (n int, cut bool) {
	gear, fp := p.gear, uint64(0)
	for i, b := range data {
		fp = fp<<1 + gear[b]
		if fp&splitMaskJ == 0 {
			return i, fp&splitMaskC == 0
		}
	}
	return len(data), false
}
