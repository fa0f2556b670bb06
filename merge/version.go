package merge

import (
	"cmp"
	"fmt"
)

// Kind says what a version is.
type Kind uint8

// The kinds, as encoded.
const (
	KindFile Kind = 1 + iota
	KindDir
	KindSymlink
	KindFifo
	KindSocket
	KindDevice
)

var kindNames = [...]string{"none", "file", "dir", "symlink", "fifo", "socket", "device"}

// String is the kind's English name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Stamp orders writes to a last-writer-wins value: by Time (Unix
// nanoseconds), then by Dot.
type Stamp struct {
	Time int64
	Dot  Dot
}

// Compare is the total order of stamps.
func (s Stamp) Compare(o Stamp) int {
	if c := cmp.Compare(s.Time, o.Time); c != 0 {
		return c
	}
	return s.Dot.Compare(o.Dot)
}

// after returns s, moved past o in time where it is not later already: a
// writer's clock may lag behind what the writer has seen.
func (s Stamp) after(o Stamp) Stamp {
	if s.Compare(o) <= 0 && o.Time < 1<<63-1 {
		s.Time = o.Time + 1
	}
	return s
}

// Version is one state of a name's content.
type Version struct {
	Dot Dot // the change that wrote it
	// Kind and Content are what it is; versions with equal Kind and Content
	// never conflict. Content is opaque here and empty for a directory.
	Kind    Kind
	Content string
	// Size is the file's length in bytes; equal Content has equal Size.
	Size int64
	// MTime is Unix nanoseconds, last writer wins by MStamp.
	MTime  int64
	MStamp Stamp
}

// SameContent says whether v and o are the same to a reader.
func (v *Version) SameContent(o *Version) bool {
	return v.Kind == o.Kind && v.Content == o.Content
}

// contentCompare orders versions by what they hold.
func contentCompare(a, b *Version) int {
	if c := cmp.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	return cmp.Compare(a.Content, b.Content)
}

// Visible returns the index of the version that a name shows, -1 if there is
// none: a directory if there is one; else the version that holds shown, the
// dot shown so far; else the one with the newest MTime, then the highest dot.
// Of equal ones it is that of which the time was set last.
func Visible(versions []Version, shown Dot) int {
	best := visible(versions, shown)
	for i := range versions {
		if v := &versions[i]; v.SameContent(&versions[best]) && v.MStamp.Compare(versions[best].MStamp) > 0 {
			best = i
		}
	}
	return best
}

func visible(versions []Version, shown Dot) int {
	best := -1
	for i := range versions {
		v := &versions[i]
		switch {
		case v.Kind == KindDir:
			return i
		case best < 0:
			best = i
		case v.Dot == shown:
			best = i
		case versions[best].Dot == shown:
		case newer(v, &versions[best]):
			best = i
		}
	}
	return best
}

func newer(a, b *Version) bool {
	if a.MTime != b.MTime {
		return a.MTime > b.MTime
	}
	return a.Dot.Compare(b.Dot) > 0
}
