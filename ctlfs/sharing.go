package ctlfs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"

	"bazil/p9srv"
)

// keyLen is the length of a sharing key in bytes.
const keyLen = 32

// creations counts the files that were created in sharing and are still
// open: until its key is written such a file is there for who asks by name,
// as clients look up what they made, but it is not listed.
type creations struct {
	mu   sync.Mutex // guards open
	open map[string]int
}

func (c *creations) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[string]int)
	}
	if c.open[name] += n; c.open[name] == 0 {
		delete(c.open, name)
	}
}

func (c *creations) has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[name] > 0
}

// sharingDir is the directory of the sharing keys.
type sharingDir struct{ *dir }

func (d *dir) sharing() p9srv.Node {
	sub := d.sub("sharing", listKeys)
	sub.mode = 0o700
	sub.find = findKey
	return sharingDir{sub}
}

func listKeys(ctx context.Context, d *dir) ([]entry, error) {
	names, err := d.fs.o.Sharing.Names(ctx)
	if err != nil {
		return nil, asError(err)
	}
	entries := make([]entry, len(names))
	for i, n := range names {
		entries[i] = entry{n, func() p9srv.Node { return &keyFile{base: d.under(n)} }}
	}
	return entries, nil
}

func findKey(ctx context.Context, d *dir, name string) (p9srv.Node, error) {
	if !d.fs.pending.has(name) {
		if _, err := d.fs.o.Sharing.Fingerprint(ctx, name); err != nil {
			return nil, asError(err)
		}
	}
	return &keyFile{base: d.under(name)}, nil
}

// Create makes a file for a new key.
func (d sharingDir) Create(ctx context.Context, name string, _, _, _ uint32) (p9srv.Node, p9srv.File, error) {
	if err := CheckName("sharing key", name); err != nil {
		return nil, nil, err
	}
	_, err := d.fs.o.Sharing.Fingerprint(ctx, name)
	switch {
	case err == nil:
		return nil, nil, syscall.EEXIST
	case !errors.Is(err, syscall.ENOENT):
		return nil, nil, asError(err)
	}
	n := &keyFile{base: d.under(name)}
	d.fs.pending.add(name, 1)
	f := n.open()
	f.created = true
	return n, f, nil
}

// Mkdir is refused.
func (d sharingDir) Mkdir(context.Context, string, uint32, uint32) (p9srv.Node, error) {
	return nil, syscall.EPERM
}

// Symlink is refused.
func (d sharingDir) Symlink(context.Context, string, string, uint32) (p9srv.Node, error) {
	return nil, syscall.EPERM
}

// Mknod is refused.
func (d sharingDir) Mknod(context.Context, string, uint32, uint32, uint32, uint32) (p9srv.Node, error) {
	return nil, syscall.EPERM
}

// Unlink forgets a key.
func (d sharingDir) Unlink(ctx context.Context, name string, flags uint32) error {
	if flags != 0 {
		return syscall.ENOTDIR
	}
	return asError(d.fs.o.Sharing.Remove(ctx, name))
}

// keyFile is one sharing key, or one to be.
type keyFile struct{ base }

// QID says that it is a file.
func (k *keyFile) QID() p9srv.QID { return k.qid(p9srv.QTFile) }

// Attr gives its mode and owner.
func (k *keyFile) Attr(context.Context) (p9srv.Attr, error) {
	return k.attr(syscall.S_IFREG | 0o600), nil
}

// SetAttr lets be what a shell's > does on its way.
func (k *keyFile) SetAttr(_ context.Context, a p9srv.SetAttr) error {
	a.Valid &^= p9srv.SetMode | p9srv.SetUID | p9srv.SetGID // cp and install set them; they stay as they are
	return harmless(a)
}

// Walk finds nothing in a file.
func (k *keyFile) Walk(context.Context, string) (p9srv.Node, error) { return nil, syscall.ENOTDIR }

// Open opens it. Writing fails later, as the key is there already.
func (k *keyFile) Open(context.Context, uint32) (p9srv.File, error) { return k.open(), nil }

func (k *keyFile) open() *openKey {
	return &openKey{key: k, openText: openText{render: k.fingerprint}}
}

// Remove forgets the key.
func (k *keyFile) Remove(ctx context.Context) error {
	return asError(k.fs.o.Sharing.Remove(ctx, k.name))
}

// Move is refused.
func (k *keyFile) Move(context.Context, p9srv.Node, string) error { return syscall.EPERM }

// fingerprint is what the file reads as; nothing before the key is written.
func (k *keyFile) fingerprint(ctx context.Context) ([]byte, error) {
	fp, err := k.fs.o.Sharing.Fingerprint(ctx, k.name)
	if errors.Is(err, syscall.ENOENT) && k.fs.pending.has(k.name) {
		return []byte{}, nil
	}
	return []byte(fp + "\n"), err
}

// openKey is an opened key file. Behind a write that failed it reads as the
// error.
type openKey struct {
	openText
	key     *keyFile
	created bool

	answer answer
}

// WriteAt adds the key, which must come whole.
func (o *openKey) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := o.add(ctx, p, off); err != nil {
		err = asError(err)
		o.answer.set(pagesOf(err.Error() + "\n"))
		return 0, err
	}
	o.answer.set(nil)
	return len(p), nil
}

func (o *openKey) add(ctx context.Context, p []byte, off int64) error {
	if len(p) != keyLen || off != 0 {
		return Errorf(syscall.EINVAL, "sharing key %q: a key is %d bytes in one write, this write has %d at %d",
			o.key.name, keyLen, len(p), off)
	}
	return o.key.fs.o.Sharing.Add(ctx, o.key.name, slices.Clone(p))
}

// ReadAt reads the error of the last write, or the fingerprint.
func (o *openKey) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if n, ok := o.answer.readAt(p, off); ok {
		return n, nil
	}
	return o.openText.ReadAt(ctx, p, off)
}

// Close ends the life of a created file that got no key.
func (o *openKey) Close() error {
	if o.created {
		o.key.fs.pending.add(o.key.name, -1)
	}
	return nil
}
