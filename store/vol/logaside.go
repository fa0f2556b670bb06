package vol

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"bazil/store"
)

// asides reports the logs that were put aside, and of each the files of which
// it has writes.
func (k *fileChecker) asides(tx *bbolt.Tx, path string, sealer *store.Sealer) error {
	id, err := readID(tx)
	if err != nil {
		return err
	}
	names, err := filepath.Glob(globQuote(path) + ".*")
	for _, name := range names {
		b, err := readAside(name)
		if err != nil {
			k.fault(err)
			continue
		}
		files, sealed := asideFiles(b, id, sealer)
		k.fault(fmt.Errorf("%s: log was put aside: it has fsyncs that the volume may lack%s; compare, write anew what is missing, then remove the log",
			name, describeAside(tx, files, sealed)))
	}
	return err
}

// globQuote quotes what filepath.Glob takes for a pattern.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func readAside(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAtMost(file, logHead+2*logAreaMax)
}

// asideFile is what a log has of a file: how many records, and the last.
type asideFile struct {
	ino  uint64
	n    int
	last *logRecord
}

// asideFiles gathers the records in a log by file, wherever they stand, and
// counts those that the sharing key does not open.
func asideFiles(b []byte, id ID, sealer *store.Sealer) (files []asideFile, sealed int) {
	at := map[uint64]int{}
	eachRecord(b, func(hit logHit) {
		r, err := hit.open(id, sealer)
		if err != nil {
			sealed++
			return
		}
		j, known := at[r.ino]
		if !known {
			j = len(files)
			at[r.ino], files = j, append(files, asideFile{ino: r.ino})
		}
		if f := &files[j]; f.last == nil || r.mtime >= f.last.mtime {
			f.last = r
		}
		files[j].n++
	})
	return files, sealed
}

// asideMost bounds how many files a report names.
const asideMost = 20

func describeAside(tx *bbolt.Tx, files []asideFile, sealed int) string {
	var s strings.Builder
	for _, f := range files[:min(len(files), asideMost)] {
		fmt.Fprintf(&s, ", %d of %s, the last at %s:", f.n, inoPath(tx, f.ino), time.Unix(0, f.last.mtime).UTC().Format(time.RFC3339Nano))
		for _, r := range f.last.ranges[:min(len(f.last.ranges), 4)] {
			fmt.Fprintf(&s, " %d bytes at %d", r.hi-r.lo, r.lo)
		}
		if len(f.last.ranges) > 4 {
			fmt.Fprintf(&s, " and %d more pieces", len(f.last.ranges)-4)
		}
	}
	if n := len(files) - asideMost; n > 0 {
		fmt.Fprintf(&s, ", and of %d more files", n)
	}
	if sealed > 0 {
		fmt.Fprintf(&s, ", %d that the volume's key does not open", sealed)
	}
	return s.String()
}

// inoPath is the path of what has that number, as far as the volume knows it.
func inoPath(tx *bbolt.Tx, ino uint64) string {
	key, err := getSummed(tx.Bucket(bucketInodes), numKey(ino, ""))
	if err != nil || key == nil {
		return fmt.Sprintf("file %d, which is not there", ino)
	}
	num, name := splitKey(key)
	parts := []string{string(name)}
	for range dirDepthMost {
		b, err := getSummed(tx.Bucket(bucketDirs), numKey(num, ""))
		if err != nil || b == nil {
			break
		}
		d, err := decodeDirRecord(b)
		if err != nil || d.Parent == 0 {
			break
		}
		parts = append(parts, d.Name)
		num = d.Parent
	}
	slices.Reverse(parts)
	return fmt.Sprintf("%q", strings.Join(parts, "/"))
}

// dirDepthMost ends a way up that a damaged record makes a circle.
const dirDepthMost = 4096
