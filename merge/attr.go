package merge

import (
	"bytes"
	"maps"
)

// Attr is one setting of a name's attributes. It belongs to the name, not to
// a version: it survives edits, and settings never conflict. The one with the
// highest Stamp among those alive counts.
type Attr struct {
	Stamp  Stamp
	Dots   []Dot // the changes that keep this setting alive, sorted
	Mode   uint32
	UID    uint32
	GID    uint32
	Xattrs map[string][]byte // never changed after it was made
}

// SameValue says whether a and o set the same attributes.
func (a Attr) SameValue(o Attr) bool {
	return a.Mode == o.Mode && a.UID == o.UID && a.GID == o.GID &&
		maps.EqualFunc(a.Xattrs, o.Xattrs, bytes.Equal)
}
