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
	Live    uint64 // names that exist
	Dirs    uint64 // of those, names that show a directory
	Records uint64 // names of which anything is stored
}

const dirRecordVersion = 1

// appendDirRecord appends the encoding of r, drawn in the package comment.
func appendDirRecord(b []byte, r *dirRecord) []byte {
	e := encoder{b: b}
	e.byte(dirRecordVersion)
	e.uint(r.Parent)
	e.string(r.Name)
	e.uint(r.Live)
	e.uint(r.Dirs)
	e.uint(r.Records)
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
	if v := d.byte(); v != dirRecordVersion && d.err == nil {
		return nil, fmt.Errorf("directory record of version %d, want %d", v, dirRecordVersion)
	}
	r := &dirRecord{
		Parent: d.uint(), Name: d.string(),
		Live: d.uint(), Dirs: d.uint(), Records: d.uint(),
	}
	d.table()
	for _, c := range r.contexts() {
		*c = d.context()
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("directory record: %w", err)
	}
	return r, nil
}

// contexts are those of the directory, in the order they are stored.
func (r *dirRecord) contexts() []*merge.Context {
	return []*merge.Context{&r.Ctx, &r.Max, &r.Gone, &r.Whole}
}
