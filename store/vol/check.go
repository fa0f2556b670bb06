package vol

import (
	"fmt"

	"bazil/merge"
)

// The bounds on what one name may hold, whoever says so.
const (
	maxVersions = 4096
	maxAttrs    = 4096
	maxDots     = 4096
	maxContent  = 64 << 10
)

// checkEntry tells whether an entry that was decoded can be one.
func checkEntry(x *merge.Entry) error {
	if len(x.Versions) > maxVersions || len(x.Attrs) > maxAttrs {
		return fmt.Errorf("%d versions and %d settings of one name: %w", len(x.Versions), len(x.Attrs), errMalformed)
	}
	if err := x.Ctx.Valid(); err != nil {
		return err
	}
	for i := range x.Versions {
		if err := checkVersion(&x.Versions[i]); err != nil {
			return err
		}
		if i > 0 && x.Versions[i-1].Dots[0].Compare(x.Versions[i].Dots[0]) >= 0 {
			return fmt.Errorf("versions out of order: %w", errMalformed)
		}
	}
	for i := range x.Attrs {
		if err := checkSetting(&x.Attrs[i]); err != nil {
			return err
		}
		if i > 0 && x.Attrs[i-1].Stamp.Compare(x.Attrs[i].Stamp) <= 0 {
			return fmt.Errorf("settings out of order: %w", errMalformed)
		}
	}
	return nil
}

func checkDots(dots []merge.Dot) error {
	if len(dots) == 0 || len(dots) > maxDots {
		return fmt.Errorf("%d dots: %w", len(dots), errMalformed)
	}
	for i, d := range dots {
		if d.Replica == 0 || d.N == 0 || i > 0 && dots[i-1].Compare(d) >= 0 {
			return fmt.Errorf("dots: %w", errMalformed)
		}
	}
	return nil
}

// checkVersion tells whether a version can be one: its kind fits its content.
func checkVersion(v *merge.Version) error {
	if err := checkDots(v.Dots); err != nil {
		return err
	}
	ok := len(v.Content) <= maxContent && v.Size >= 0 && v.MStamp.Dot.Replica != 0 && v.MStamp.Dot.N != 0
	switch v.Kind {
	case merge.KindFile:
		if err := Body(v.Content).Validate(); err != nil {
			return err
		}
		ok = ok && Body(v.Content).Size() == v.Size
	case merge.KindSymlink:
		w := New{Kind: v.Kind, Target: v.Content}
		ok = ok && w.check() == nil && v.Size == int64(len(v.Content))
	case merge.KindDir, merge.KindFifo, merge.KindSocket, merge.KindDevice:
		ok = ok && v.Content == "" && v.Size == 0
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("%v of %d bytes: %w", v.Kind, v.Size, errMalformed)
	}
	return nil
}

func checkSetting(a *merge.Attr) error {
	if err := checkDots(a.Dots); err != nil {
		return err
	}
	total := 0
	for name, value := range a.Xattrs {
		if len(name) > xattrNameMax || len(value) > xattrValueMax {
			return fmt.Errorf("extended attribute of %d and %d bytes: %w", len(name), len(value), errMalformed)
		}
		total += len(name) + len(value)
	}
	if a.Mode&^0o7777 != 0 || total > xattrTotalMax {
		return fmt.Errorf("mode %o, %d bytes of extended attributes: %w", a.Mode, total, errMalformed)
	}
	return nil
}
