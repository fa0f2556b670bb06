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
// FastCDC and shares as much after edits. Golden vectors freeze it.
//
// A Splitter is safe for concurrent use: it keeps nothing between calls.
type Splitter struct {
	opts chunkers.ChunkerOpts
	alg  jc.JC
}

// NewSplitter returns the splitter of the sealer's sharing key.
func (s *Sealer) NewSplitter() *Splitter {
	p := &Splitter{opts: chunkers.ChunkerOpts{
		MinSize:    MinSplit,
		NormalSize: AvgSplit,
		MaxSize:    MaxSplit,
		Key:        s.splitKey[:],
	}}
	if err := p.alg.Setup(&p.opts); err != nil {
		panic(fmt.Sprintf("store: set up the splitter: %v", err))
	}
	return p
}

// Next returns the length of the first chunk in data, which starts at a
// boundary. Final says that data reaches to the end of the file. 0 means that
// the boundary cannot be told yet: data is not final and shorter than
// MaxSplit. No data gives 0.
func (p *Splitter) Next(data []byte, final bool) int {
	if len(data) < MaxSplit && !final {
		return 0
	}
	return p.alg.Algorithm(&p.opts, data, len(data))
}
