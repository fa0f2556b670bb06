package vol

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"bazil/merge"
)

// news is rows for the index of changes (merge.Dir.Partial): at a name, or
// below it, there were changes with these dots.
type news struct {
	e    *entry
	dots merge.Context // nil: the group's own
}

// turn is an index that gets shorter: rows with these dots, and earlier ones
// of their replicas, go.
type turn struct {
	dir  *dir
	dots merge.Context
}

// tell notes that this replica changed something at e's name or below.
func (v *Volume) tell(e *entry) {
	if e.told == v.now.gen || e == v.root.at {
		return
	}
	e.told = v.now.gen
	v.addNews(news{e: e})
}

// tellLearned notes that something was learned below the name of d.
func (v *Volume) tellLearned(d *dir, theirs merge.Context) {
	dots := theirs.Without(d.learned)
	if len(dots) == 0 {
		return
	}
	d.learned = d.learned.Join(dots)
	if dots = dots.Without(d.at.dir.Whole); len(dots) > 0 {
		v.addNews(news{d.at, dots})
	}
}

func (v *Volume) addNews(n news) {
	n.e.dir.rows++
	v.markDir(n.e.dir)
	v.now.news = append(v.now.news, n)
}

// tellAs gives what the present group has told of own changes the dot own,
// because the next ones are another replica's.
func (v *Volume) tellAs(own merge.Dot) {
	for i := range v.now.news {
		if n := &v.now.news[i]; n.dots == nil {
			n.dots, n.e.told = merge.Context{own}, 0
		}
	}
}

// minRows is how many names the index of a directory has in any case before
// the older ones go.
const minRows = 128

// turnIndex lets the older half of d's index go when it has become longer than
// a listing: who has not heard of that for so long gets one.
func (v *Volume) turnIndex(d *dir) {
	if d.gone || d.rows < max(minRows, d.records) {
		return
	}
	if len(d.half) > 0 {
		v.now.turns = append(v.now.turns, turn{d, d.half})
		d.Dir = d.Drop(d.half)
	}
	d.half, d.rows = d.Max, 0
}

// indexRow is one name in the index.
type indexRow struct {
	dir  uint64
	dot  merge.Dot
	name string
}

func (a indexRow) compare(b indexRow) int {
	if c := cmp.Compare(a.dir, b.dir); c != 0 {
		return c
	}
	if c := a.dot.Compare(b.dot); c != 0 {
		return c
	}
	return strings.Compare(a.name, b.name)
}

// rows are the rows that a group adds, sorted.
func (g *group) rows() []indexRow {
	rows := make([]indexRow, 0, len(g.news))
	own := merge.Context{g.state.dot()}
	for _, n := range g.news {
		dots := n.dots
		if dots == nil {
			dots = own
		}
		for _, dot := range dots {
			rows = append(rows, indexRow{n.e.dir.num, dot, n.e.name})
		}
	}
	slices.SortFunc(rows, indexRow.compare)
	return slices.Compact(rows)
}

// indexKey is the key of the rows with a dot.
func indexKey(dir uint64, dot merge.Dot) []byte {
	return numKey(dir, string(numKey(uint64(dot.Replica), string(numKey(dot.N, "")))))
}

// splitIndexKey takes such a key apart.
func splitIndexKey(key []byte) (dir uint64, dot merge.Dot, ok bool) {
	dir, rest := splitKey(key)
	replica, rest := splitKey(rest)
	n, rest := splitKey(rest)
	return dir, merge.Dot{Replica: merge.ReplicaID(replica), N: n}, len(key) == 24 && len(rest) == 0
}

// appendIndexNames appends the value of such a key: names, sorted.
func appendIndexNames(b []byte, names []string) []byte {
	e := encoder{b: b}
	for _, name := range names {
		e.string(name)
	}
	return e.b
}

func decodeIndexNames(b []byte) ([]string, error) {
	d := decoder{b: b}
	var names []string
	for len(d.b) > 0 && d.err == nil {
		name := d.string()
		if d.err == nil && (checkName(name) != nil || len(names) > 0 && names[len(names)-1] >= name) {
			d.fail(errMalformed)
		}
		names = append(names, name)
	}
	return names, d.end()
}

// news writes what a group has of the index: rows that go, rows that come.
func (w *writer) news(g *group) {
	for _, t := range g.turns {
		for _, dot := range t.dots {
			w.dropIndex(indexKey(t.dir.num, merge.Dot{Replica: dot.Replica}), indexKey(t.dir.num, dot))
		}
	}
	for rows := g.rows(); len(rows) > 0; {
		n := 1
		for n < len(rows) && rows[n].dir == rows[0].dir && rows[n].dot == rows[0].dot {
			n++
		}
		w.indexNames(rows[:n])
		rows = rows[n:]
	}
}

// indexNames writes the rows of one directory with one dot.
func (w *writer) indexNames(rows []indexRow) {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	key := indexKey(rows[0].dir, rows[0].dot)
	if b, err := getSummed(w.tx.Bucket(bucketIndex), key); err == nil && b != nil {
		if stored, err := decodeIndexNames(b); err == nil {
			names = append(names, stored...)
			slices.Sort(names)
			names = slices.Compact(names)
		}
	}
	w.index = append(w.index, change{key, appendIndexNames(nil, names)})
}

// dropIndex removes the rows from one key to another.
func (w *writer) dropIndex(from, to []byte) {
	c := w.tx.Bucket(bucketIndex).Cursor()
	for k, _ := c.Seek(from); k != nil && bytes.Compare(k, to) <= 0; k, _ = c.Next() {
		w.index = append(w.index, change{slices.Clone(k), nil})
	}
}

// dropIndexOf removes all rows of a directory.
func (w *writer) dropIndexOf(dir uint64) {
	top := merge.Dot{Replica: ^merge.ReplicaID(0), N: ^uint64(0)}
	w.dropIndex(numKey(dir, ""), indexKey(dir, top))
}

// fewNames is how many names a partial listing may have: a quarter of what a
// full one has, beyond which that costs less, and not more than a piece, which
// it is not divided into.
func fewNames(r *dirRecord) int { return int(min(max(r.Records/4, 2), pieceBytes/pieceName)) }

// readNews reads from the index the names in directory num with changes that
// are not in known, and for each the last change of each replica. False: they
// are too many, or the index is damaged.
func readNews(tx *bbolt.Tx, num uint64, r *dirRecord, known merge.Context) (map[string]merge.Context, bool) {
	out := make(map[string]merge.Context)
	c := tx.Bucket(bucketIndex).Cursor()
	for _, last := range r.Max {
		from := merge.Dot{Replica: last.Replica, N: known.Get(last.Replica) + 1}
		for k, b := c.Seek(indexKey(num, from)); k != nil; k, b = c.Next() {
			dir, dot, ok := splitIndexKey(k)
			if !ok || dir != num || dot.Replica != last.Replica {
				break
			}
			b, err := checkSum(k, b)
			if err != nil {
				return nil, false
			}
			names, err := decodeIndexNames(b)
			if err != nil {
				return nil, false
			}
			for _, name := range names {
				out[name] = out[name].With(dot)
			}
			if len(out) > fewNames(r) {
				return nil, false
			}
		}
	}
	return out, true
}

// readPartial adds a partial listing to out; false: it has to be a full one.
func readPartial(tx *bbolt.Tx, out *DirState, known merge.Context) (bool, error) {
	r, err := readDirRecord(tx, out.Dir)
	if err != nil || !r.Partial(known) {
		return false, err
	}
	last, few := readNews(tx, out.Dir, r, known)
	if !few {
		return false, nil
	}
	if out.Dir == rootDir {
		if out.Root, err = rootEntry(tx); err != nil {
			return false, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		e := NamedEntry{Name: name}
		rec, err := readRecord(tx, out.Dir, name)
		if err == nil && rec != nil {
			e, err = readNamed(tx, out.View, name, rec)
		}
		if err != nil {
			return false, err
		}
		e.Last = last[name]
		out.Entries = append(out.Entries, e)
	}
	out.Partial = true
	return true, nil
}
