package vol

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bazil/merge"
)

// checkEntry tells whether an entry that was decoded can be one: merge's
// rules, and that contents fit their kinds.
func checkEntry(x *merge.Entry) error {
	if err := x.Validate(); err != nil {
		return err
	}
	for i := range x.Versions {
		if err := checkVersion(&x.Versions[i]); err != nil {
			return err
		}
	}
	for i := range x.Attrs {
		if err := checkSetting(&x.Attrs[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkVersion tells whether a version's content is one of its kind.
func checkVersion(v *merge.Version) error {
	ok := false
	switch v.Kind {
	case merge.KindFile:
		if err := Body(v.Content).Validate(); err != nil {
			return err
		}
		ok = Body(v.Content).Size() == v.Size
	case merge.KindSymlink:
		w := New{Kind: v.Kind, Target: v.Content}
		ok = w.check() == nil && v.Size == int64(len(v.Content))
	default:
		ok = v.Content == "" && v.Size == 0
	}
	if !ok {
		return fmt.Errorf("%v of %d bytes: %w", v.Kind, v.Size, errMalformed)
	}
	return nil
}

func checkSetting(a *merge.Attr) error {
	total := 0
	for name, value := range a.Xattrs {
		total += len(name) + len(value)
	}
	if total > xattrTotalMax {
		return fmt.Errorf("%d bytes of extended attributes: %w", total, errMalformed)
	}
	return nil
}

// listingMax bounds the names in one DirState.
const listingMax = 1 << 24

// check tells whether a state that a peer sent can be one, and takes device
// nodes out of it.
func (s *DirState) check() error {
	if err := s.View.Valid(); err != nil {
		return err
	}
	if len(s.Entries) > listingMax {
		return fmt.Errorf("%d names: %w", len(s.Entries), errMalformed)
	}
	if err := checkEntry(&s.Root); err != nil || len(s.Root.Versions) > 0 {
		return fmt.Errorf("settings of the root: %w", errMalformed)
	}
	s.Entries = slices.Clone(s.Entries)
	for i := range s.Entries {
		e := &s.Entries[i]
		if err := e.check(); err != nil {
			return fmt.Errorf("%q: %w", e.Name, err)
		}
		if !s.View.Max.Covers(e.Last) {
			return fmt.Errorf("%q: changes that its directory has not: %w", e.Name, errMalformed)
		}
		if i > 0 && strings.Compare(s.Entries[i-1].Name, e.Name) >= 0 {
			return fmt.Errorf("%q: names out of order: %w", e.Name, errMalformed)
		}
	}
	return s.checkRange()
}

func (e *NamedEntry) check() error {
	if err := checkName(e.Name); err != nil {
		return err
	}
	if err := checkEntry(&e.Entry); err != nil {
		return err
	}
	e.Versions = slices.DeleteFunc(slices.Clone(e.Versions), func(ver merge.Version) bool {
		return ver.Kind == merge.KindDevice
	})
	if len(e.Versions) == 0 {
		e.Versions = nil
	}
	return errors.Join(e.SubView.Valid(), e.Last.Valid())
}
