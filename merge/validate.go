package merge

import (
	"errors"
	"fmt"
)

// Bounds of an Entry that comes from a disk or a peer.
const (
	MaxVersions = 2048     // versions of one name; see Entry.Surplus
	MaxDots     = 4096     // of one setting
	MaxContent  = 64 << 10 // bytes of Version.Content
	MaxAttrs    = 1024     // settings alive at once
	MaxXattrs   = 1024     // extended attributes of one setting
	MaxXattr    = 64 << 10 // bytes of one extended attribute's value
)

// Validate returns an error unless e could have been made by this package:
// sorted, no dot twice, no zeros, and within the bounds above.
func (e Entry) Validate() error {
	if err := e.Ctx.Valid(); err != nil {
		return err
	}
	if err := e.validateVersions(); err != nil {
		return err
	}
	return e.validateAttrs()
}

func (e Entry) validateVersions() error {
	if len(e.Versions) > MaxVersions {
		return fmt.Errorf("merge: %d versions of a name", len(e.Versions))
	}
	for i := range e.Versions {
		v := &e.Versions[i]
		if err := v.validate(); err != nil {
			return err
		}
		if i > 0 && e.Versions[i-1].Dot.Compare(v.Dot) >= 0 {
			return errors.New("merge: versions out of order")
		}
	}
	return nil
}

func (v *Version) validate() error {
	switch {
	case v.Kind < KindFile || v.Kind > KindDevice:
		return fmt.Errorf("merge: version of %v", v.Kind)
	case len(v.Content) > MaxContent:
		return fmt.Errorf("merge: content of %d bytes", len(v.Content))
	case v.Kind == KindDir && (v.Content != "" || v.Size != 0):
		return errors.New("merge: directory with content")
	case v.Size < 0:
		return fmt.Errorf("merge: version with size %d", v.Size)
	}
	if v.Dot.Replica == 0 || v.Dot.N == 0 {
		return errors.New("merge: version without a dot")
	}
	return v.MStamp.validate()
}

func (s Stamp) validate() error {
	if s.Dot.Replica == 0 || s.Dot.N == 0 {
		return errors.New("merge: stamp without a dot")
	}
	return nil
}

func validDots(dots []Dot) error {
	if len(dots) == 0 || len(dots) > MaxDots {
		return fmt.Errorf("merge: %d dots", len(dots))
	}
	for i, d := range dots {
		if d.Replica == 0 || d.N == 0 {
			return errors.New("merge: zero dot")
		}
		if i > 0 && dots[i-1].Compare(d) >= 0 {
			return errors.New("merge: dots out of order")
		}
	}
	return nil
}

func (e Entry) validateAttrs() error {
	if len(e.Attrs) > MaxAttrs {
		return fmt.Errorf("merge: %d settings of a name", len(e.Attrs))
	}
	for i := range e.Attrs {
		if err := e.Attrs[i].validate(); err != nil {
			return err
		}
		if i > 0 && e.Attrs[i-1].Stamp.Compare(e.Attrs[i].Stamp) <= 0 {
			return errors.New("merge: settings out of order")
		}
	}
	return nil
}

func (a *Attr) validate() error {
	if a.Mode&^0o7777 != 0 {
		return fmt.Errorf("merge: mode %#o", a.Mode)
	}
	if err := a.Stamp.validate(); err != nil {
		return err
	}
	if len(a.Xattrs) > MaxXattrs {
		return fmt.Errorf("merge: %d extended attributes", len(a.Xattrs))
	}
	for name, value := range a.Xattrs {
		if len(name) == 0 || len(name) > 255 || len(value) > MaxXattr {
			return fmt.Errorf("merge: extended attribute with a name of %d and a value of %d bytes", len(name), len(value))
		}
	}
	return validDots(a.Dots)
}

// Valid returns an error unless all contexts of v are valid.
func (v View) Valid() error {
	return errors.Join(v.Ctx.Valid(), v.Max.Valid(), v.Gone.Valid())
}
