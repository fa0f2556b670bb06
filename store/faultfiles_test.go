package store

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// faultFiles is a file system in memory that keeps what is on disk apart from
// what processes see. A crash takes it to a state that a disk may be in: each
// 512 byte sector written since the file's last Sync is there or not, each
// name changed since its directory's is, too. Any call can be made to fail.
type faultFiles struct {
	mu    sync.Mutex
	files map[string]*faultNode // as processes see it
	disk  map[string]*faultNode // names on disk
	names []nameChange          // not on disk yet
	calls int

	// after, if set, is called after each call that changes something, with mu held.
	after func(fs *faultFiles, call string)
	// fail, if set, returns the error that a call shall have. A write with an
	// error writes a part.
	fail func(call, path string) error
	// lie, if set, says that a Sync of path shall do nothing.
	lie func(path string) bool
}

type faultNode struct {
	seen    []byte   // what processes read
	disk    []byte   // what is on disk for sure
	pending []change // since
}

// change is a write, or with nil data a truncation to off.
type change struct {
	off  int64
	data []byte
}

// nameChange gives name to node, or takes it away if that is nil.
type nameChange struct {
	dir        string
	name, from string // from is the name given up in a rename
	node       *faultNode
}

const sector = 512

func newFaultFiles() *faultFiles {
	return &faultFiles{files: map[string]*faultNode{}, disk: map[string]*faultNode{}}
}

// call counts a call and says whether it shall fail.
func (fs *faultFiles) call(name, path string) error {
	fs.calls++
	if fs.fail == nil {
		return nil
	}
	return fs.fail(name, path)
}

func (fs *faultFiles) done(call string) {
	if fs.after != nil {
		fs.after(fs, call)
	}
}

func (fs *faultFiles) create(path string) (file, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.files[path] != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: os.ErrExist}
	}
	if err := fs.call("create", path); err != nil {
		return nil, err
	}
	n := &faultNode{}
	fs.files[path] = n
	fs.names = append(fs.names, nameChange{dir: filepath.Dir(path), name: path, node: n})
	fs.done("create " + path)
	return &faultFile{fs, n, path}, nil
}

func (fs *faultFiles) open(path string) (file, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.files[path]
	if n == nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return &faultFile{fs, n, path}, fs.call("open", path)
}

func (fs *faultFiles) remove(path string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.files[path] == nil {
		return &os.PathError{Op: "remove", Path: path, Err: os.ErrNotExist}
	}
	if err := fs.call("remove", path); err != nil {
		return err
	}
	delete(fs.files, path)
	fs.names = append(fs.names, nameChange{dir: filepath.Dir(path), name: path})
	fs.done("remove " + path)
	return nil
}

func (fs *faultFiles) rename(from, to string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.call("rename", to); err != nil {
		return err
	}
	n := fs.files[from]
	delete(fs.files, from)
	fs.files[to] = n
	fs.names = append(fs.names, nameChange{dir: filepath.Dir(to), name: to, from: from, node: n})
	fs.done("rename " + to)
	return nil
}

func (fs *faultFiles) list(dir string) ([]string, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var names []string
	for path := range fs.files {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names, fs.call("list", dir)
}

func (fs *faultFiles) mkdir(dir string) error { return nil }

func (fs *faultFiles) syncDir(dir string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.call("syncDir", dir); err != nil {
		return err
	}
	if fs.lie == nil || !fs.lie(dir) {
		fs.names = slices.DeleteFunc(fs.names, func(c nameChange) bool {
			if c.dir == dir {
				c.apply(fs.disk)
			}
			return c.dir == dir
		})
	}
	fs.done("syncDir " + dir)
	return nil
}

func (c nameChange) apply(names map[string]*faultNode) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.node == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.node
	}
}

type faultFile struct {
	fs   *faultFiles
	n    *faultNode
	path string
}

func (f *faultFile) Close() error { return nil }

func (f *faultFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.n.seen)), f.fs.call("size", f.path)
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.call("read", f.path); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.seen)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.seen[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.call("write", f.path)
	if err != nil {
		p = p[:len(p)/2]
	}
	c := change{off, slices.Clone(p)}
	if c.data == nil {
		c.data = []byte{}
	}
	f.n.pending = append(f.n.pending, c)
	f.n.seen = c.apply(f.n.seen)
	f.fs.done(fmt.Sprintf("write %s %d+%d", f.path, off, len(p)))
	return len(p), err
}

func (f *faultFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.call("truncate", f.path); err != nil {
		return err
	}
	c := change{off: size}
	f.n.pending = append(f.n.pending, c)
	f.n.seen = c.apply(f.n.seen)
	f.fs.done(fmt.Sprintf("truncate %s %d", f.path, size))
	return nil
}

// Sync puts pending changes on disk. When it fails, it does so with some of
// them and forgets the rest: processes go on seeing what the disk has not.
func (f *faultFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.call("sync", f.path); err != nil {
		r := rand.New(rand.NewPCG(uint64(f.fs.calls), 1))
		f.n.disk = f.n.settle(r)
		f.n.pending = nil
		f.fs.done("failed sync " + f.path)
		return err
	}
	if f.fs.lie == nil || !f.fs.lie(f.path) {
		for _, c := range f.n.pending {
			f.n.disk = c.apply(f.n.disk)
		}
		f.n.pending = nil
	}
	f.fs.done("sync " + f.path)
	return nil
}

// apply returns b after the change, in new memory.
func (c change) apply(b []byte) []byte {
	if c.data == nil {
		out := make([]byte, c.off)
		copy(out, b)
		return out
	}
	out := make([]byte, max(len(b), int(c.off)+len(c.data)))
	copy(out, b)
	copy(out[c.off:], c.data)
	return out
}

// settle returns a content that the disk may have after a crash.
func (n *faultNode) settle(r *rand.Rand) []byte {
	b := n.disk
	keep := settleModes[r.IntN(len(settleModes))](r, len(n.pending))
	for i, c := range n.pending {
		if c.data == nil {
			if keep(i) {
				b = c.apply(b)
			}
			continue
		}
		for off := int64(0); off < int64(len(c.data)); {
			end := min((c.off+off)/sector*sector+sector-c.off, int64(len(c.data)))
			if keep(i) {
				b = change{c.off + off, c.data[off:end]}.apply(b)
			}
			off = end
		}
	}
	return b
}

// settleModes choose which sectors of which changes reach the disk.
var settleModes = []func(r *rand.Rand, n int) func(i int) bool{
	func(r *rand.Rand, n int) func(int) bool { return func(int) bool { return false } },
	func(r *rand.Rand, n int) func(int) bool { return func(int) bool { return true } },
	func(r *rand.Rand, n int) func(int) bool { return func(int) bool { return r.IntN(2) == 0 } },
	func(r *rand.Rand, n int) func(int) bool { return func(int) bool { return r.IntN(8) != 0 } },
	func(r *rand.Rand, n int) func(int) bool { // the first ones
		cut := r.IntN(n + 1)
		return func(i int) bool { return i < cut || i == cut && r.IntN(2) == 0 }
	},
	func(r *rand.Rand, n int) func(int) bool { // the last ones
		cut := r.IntN(n + 1)
		return func(i int) bool { return i > cut || i == cut && r.IntN(2) == 0 }
	},
}

// crash returns a file system as it may be found after the power failed.
func (fs *faultFiles) crash(r *rand.Rand) *faultFiles {
	names := maps.Clone(fs.disk)
	cut, any := r.IntN(len(fs.names)+1), r.IntN(2) == 0
	for i, c := range fs.names {
		if any && r.IntN(2) == 0 || !any && i < cut {
			c.apply(names)
		}
	}
	out := newFaultFiles()
	paths := slices.Sorted(maps.Keys(names))
	for _, path := range paths {
		b := names[path].settle(r)
		out.disk[path] = &faultNode{seen: b, disk: b}
	}
	out.files = maps.Clone(out.disk)
	return out
}

// evict forgets what processes see and the disk has not, but for what may
// still get there: what memory pressure does after a failed flush.
func (fs *faultFiles) evict() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, n := range fs.files {
		n.seen = n.disk
		for _, c := range n.pending {
			n.seen = c.apply(n.seen)
		}
	}
}

func (fs *faultFiles) String() string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(fs.files)) {
		fmt.Fprintf(&b, "%s: %d bytes\n", path, len(fs.files[path].seen))
	}
	return b.String()
}
