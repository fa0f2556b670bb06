package vol

import (
	"bazil/merge"
)

// record is all that is stored of one name in a directory. Records are never
// changed once another goroutine can see them: a change stores a new one.
type record struct {
	merge.Entry

	// Ino is the number of the file or directory that the name shows; 0 where
	// it shows nothing.
	Ino uint64
	// Sub is the number of the directory at this place, 0 if it has none: it
	// stays while something is to be remembered of names below it.
	Sub uint64
	// Implied: the name shows a directory because names in it exist, whether
	// there is a version of the directory itself or not.
	Implied bool
	// Shown is the dot of the version that the name shows.
	Shown merge.Dot
	// Change grows with every change of what is shown, over the whole volume.
	Change uint64

	// Device nodes belong to this replica alone and are no versions. One hides
	// whatever versions its name has.
	Device, Block bool
	Rdev          uint64
	Own           merge.Attr // the device's settings; no stamp, no dots

	// Times are Unix nanoseconds, of this replica alone. MTime counts for
	// directories and devices; that of other kinds is their version's.
	ATime, MTime, CTime, BTime int64
}

// empty says whether nothing of r has to be stored.
func (r *record) empty() bool {
	return r == nil || r.Sub == 0 && !r.Device && r.Entry.Empty()
}

// exists says whether the name makes its directory exist.
func (r *record) exists() bool {
	return r != nil && (len(r.Versions) > 0 || r.Device || r.Implied)
}

// shown returns the index of the version that the name shows, -1 for none.
func (r *record) shown() int {
	if r == nil || r.Device {
		return -1
	}
	return merge.Visible(r.Versions, r.Shown)
}

// kind is what the name shows: 0 for nothing.
func (r *record) kind() merge.Kind {
	switch i := r.shown(); {
	case r == nil:
		return 0
	case r.Device:
		return merge.KindDevice
	case r.Implied:
		return merge.KindDir
	case i >= 0:
		return r.Versions[i].Kind
	}
	return 0
}

// version is the version that the name shows, nil for none: an implied
// directory may have none, a device never has.
func (r *record) version() *merge.Version {
	i := r.shown()
	if i < 0 || r.Implied && r.Versions[i].Kind != merge.KindDir {
		return nil
	}
	return &r.Versions[i]
}

// seen are the dots of the version that the name shows, and of those that are
// equal.
func (r *record) seen() []merge.Dot {
	if v := r.version(); v != nil {
		return r.Equal([]merge.Dot{v.Dot})
	}
	return nil
}

// conflict says whether the name has versions that differ from what it shows.
func (r *record) conflict() bool {
	if r == nil {
		return false
	}
	if r.Conflict() {
		return true
	}
	return len(r.Versions) > 0 && (r.Device || r.Implied && r.Versions[0].Kind != merge.KindDir)
}

// clone returns a record to change; r may be nil.
func (r *record) clone() *record {
	if r == nil {
		return new(record)
	}
	c := *r
	return &c
}

// withVersions gives r a slice of versions of its own, for a change in place.
func (r *record) withVersions() *record {
	r.Versions = append([]merge.Version(nil), r.Versions...)
	return r
}

// size is the length of what the name shows in bytes.
func (r *record) size() int64 {
	if v := r.version(); v != nil {
		return v.Size
	}
	return 0
}

// mtime is the modification time of what the name shows.
func (r *record) mtime() int64 {
	if v := r.version(); v != nil && v.Kind != merge.KindDir {
		return v.MTime
	}
	return r.MTime
}

// attr are the settings that count for what the name shows.
func (r *record) attr() merge.Attr {
	if r.Device {
		return r.Own
	}
	return r.Attr()
}
