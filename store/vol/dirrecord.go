package vol

import (
	"fmt"

	"bazil/merge"
)

// dirRecord is what is stored of a directory by its number.
type dirRecord struct {
	merge.Dir
	Parent  uint64 // the directory that its name is in; 0: it is the root
	Name    string
	Live    uint64        // names that exist
	Dirs    uint64        // of those, names that show a directory
	Records uint64        // names of which anything is stored
	Rows    uint64        // names written to its index since Half
	Half    merge.Context // Max when its index was last made shorter
}

// Records of version 1 are of volumes without an index.
const (
	dirRecordVersion = 2
	dirRecordPlain   = 1
)

// appendDirRecord appends the encoding of r, drawn in the package comment.
func appendDirRecord(b []byte, r *dirRecord) []byte {
	e := encoder{b: b}
	e.byte(dirRecordVersion)
	e.uint(r.Parent)
	e.string(r.Name)
	e.uint(r.Live)
	e.uint(r.Dirs)
	e.uint(r.Records)
	e.uint(r.Rows)
	contexts := r.contexts()
	for _, c := range contexts {
		e.name(*c...)
	}
	e.table()
	for _, c := range contexts {
		e.dots(*c)
	}
	return e.b
}

// decodeDirRecord reads what appendDirRecord wrote.
func decodeDirRecord(b []byte) (*dirRecord, error) {
	d := decoder{b: b}
	v := d.byte()
	if v != dirRecordVersion && v != dirRecordPlain && d.err == nil {
		return nil, unknownVersion("directory record", v, dirRecordVersion)
	}
	r := &dirRecord{
		Parent: d.uint(), Name: d.string(),
		Live: d.uint(), Dirs: d.uint(), Records: d.uint(),
	}
	contexts := r.contexts()
	if v == dirRecordPlain {
		contexts = contexts[:4]
	} else {
		r.Rows = d.uint()
	}
	d.table()
	for _, c := range contexts {
		*c = d.context()
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("directory record: %w", err)
	}
	if v == dirRecordPlain {
		r.Whole = r.Max
	}
	return r, nil
}

// contexts are those of the directory, in the order they are stored.
func (r *dirRecord) contexts() []*merge.Context {
	return []*merge.Context{&r.Ctx, &r.Max, &r.Gone, &r.Whole, &r.Half}
}
