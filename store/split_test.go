package store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
)

// splitAll returns the lengths of all chunks of data.
func splitAll(p *Splitter, data []byte) (lengths []int) {
	for len(data) > 0 {
		n := p.Next(data, true)
		lengths = append(lengths, n)
		data = data[n:]
	}
	return lengths
}

type splitVector struct {
	Key     string
	Data    string
	Lengths []int
}

func TestSplitGolden(t *testing.T) {
	var vs []splitVector
	key := testKey()
	other := SharingKey(bytes.Repeat([]byte{0xaa}, 32))
	golden(t, "split.json", &vs, func() {
		for _, data := range []string{"noise 2000000 9", "prose 800000 9", "noise 100 9"} {
			for _, k := range []SharingKey{key, other} {
				vs = append(vs, splitVector{Key: string(appendHex(k[:])), Data: data,
					Lengths: splitAll(NewSealer(k).NewSplitter(), sealVector{Plain: data}.plain(t))})
			}
		}
	})
	for _, v := range vs {
		s := NewSealer(SharingKey(unhex(t, v.Key))).NewSplitter()
		got := splitAll(s, sealVector{Plain: v.Data}.plain(t))
		if !slices.Equal(got, v.Lengths) {
			t.Errorf("%s: chunks of %v bytes, want %v", v.Data, got, v.Lengths)
		}
	}
}

// TestSplitIsNamedAlgorithm compares with the library's chunker of the frozen
// name.
func TestSplitIsNamedAlgorithm(t *testing.T) {
	s := NewSealer(testKey())
	data := noise(6<<20, 5)
	c, err := chunkers.NewChunker("jc-v1.0.0", bytes.NewReader(data),
		&chunkers.ChunkerOpts{MinSize: MinSplit, NormalSize: AvgSplit, MaxSize: MaxSplit, Key: s.splitKey[:]})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range splitAll(s.NewSplitter(), data) {
		got, err := c.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if len(got) != want {
			t.Fatalf("chunk %d: %d bytes, the library cuts %d", i, want, len(got))
		}
	}
}

func TestSplitBounds(t *testing.T) {
	p := NewSealer(testKey()).NewSplitter()
	if n := p.Next(make([]byte, MaxSplit-1), false); n != 0 {
		t.Errorf("told a boundary without the data: %d", n)
	}
	if n := p.Next(nil, true); n != 0 {
		t.Errorf("a chunk of nothing: %d", n)
	}
	total, chunks := 12<<20, 0
	data := noise(total, 6)
	for off := 0; off < total; chunks++ {
		n := p.Next(data[off:], true)
		if n > MaxSplit || n < MinSplit && off+n < total {
			t.Fatalf("chunk of %d bytes", n)
		}
		off += n
	}
	if avg := total / chunks; avg < 200<<10 || avg > 450<<10 {
		t.Errorf("average chunk %d bytes", avg)
	}
}

// TestSplitIncremental feeds data in pieces: boundaries do not depend on how.
func TestSplitIncremental(t *testing.T) {
	p := NewSealer(testKey()).NewSplitter()
	data := append(noise(2<<20, 7), prose(1<<20, 7)...)
	want := splitAll(p, data)
	r := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		var buf []byte
		var got []int
		for rest := data; len(rest) > 0 || len(buf) > 0; {
			k := min(len(rest), 100_000+r.IntN(3<<20))
			buf, rest = append(buf, rest[:k]...), rest[k:]
			for n := p.Next(buf, len(rest) == 0); n > 0; n = p.Next(buf, len(rest) == 0) {
				got, buf = append(got, n), buf[n:]
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("chunks of %v bytes, want %v", got, want)
		}
	}
}

// TestSplitHealsAfterEdit: an inserted byte changes few chunks.
func TestSplitHealsAfterEdit(t *testing.T) {
	p := NewSealer(testKey()).NewSplitter()
	data := noise(4<<20, 8)
	have := map[string]bool{}
	for rest := data; len(rest) > 0; {
		n := p.Next(rest, true)
		have[string(rest[:n])] = true
		rest = rest[n:]
	}
	var changed int
	for at := 1 << 20; at < 4<<20; at += 1 << 20 {
		for rest := append(append(bytes.Clone(data[:at]), 'x'), data[at:]...); len(rest) > 0; {
			n := p.Next(rest, true)
			if !have[string(rest[:n])] {
				changed++
			}
			rest = rest[n:]
		}
	}
	if changed > 3*3 {
		t.Errorf("3 edits changed %d chunks", changed)
	}
}

func BenchmarkSplit(b *testing.B) {
	p := NewSealer(testKey()).NewSplitter()
	data := noise(32<<20, 1)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	defer reportCPU(b, len(data))()
	for b.Loop() {
		for rest := data; len(rest) > 0; {
			rest = rest[p.Next(rest, true):]
		}
	}
}
