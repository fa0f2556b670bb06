package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// step does one random thing on the mount.
func (i *island) step() {
	name, to := i.path(), ""
	var err error
	switch k := i.rand.IntN(20); {
	case k < 9:
		err = i.write(name)
	case k < 12:
		err = i.remove(name)
	case k < 14 && i.w.moves:
		to = i.path()
		err = i.rename(name, to)
	case k < 15:
		name = i.dirOrName(name)
		err = i.noted("mkdir", name, os.MkdirAll(filepath.Join(i.mnt, name), 0o755))
	case k < 16:
		name = i.dirOrName(name)
		err = i.noted("rmdir", name, syscall.Rmdir(filepath.Join(i.mnt, name)))
	case k < 17:
		err = os.Chmod(filepath.Join(i.mnt, "mode"), 0o600|os.FileMode(i.rand.IntN(0o100)))
	case k < 18:
		same := fmt.Sprint("same-", i.rand.IntN(5))
		err = os.WriteFile(filepath.Join(i.mnt, same), []byte("what all write to "+same), 0o644)
	default:
		_, err = os.ReadFile(filepath.Join(i.mnt, name))
	}
	if err != nil {
		i.note("failed %s %s: %v", name, to, err)
		i.w.mu.Lock()
		defer i.w.mu.Unlock()
		i.w.failed++
	}
}

// note adds a line to the trace, of which the second word is a name.
func (i *island) note(format string, args ...any) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.trace = append(i.w.trace, fmt.Sprintf("%s island %d: ", time.Now().Format("05.000"), i.number)+fmt.Sprintf(format, args...))
}

// noted is err, and a note of what was done if there is none.
func (i *island) noted(what, name string, err error) error {
	if err == nil {
		i.note("%s %s", what, name)
	}
	return err
}

func (i *island) life() int {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	return i.lives
}

func (i *island) nextLife() {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.lives++
}

// slip notes that what held a name, f, was lost with the server, if it was
// since life. unlink(2) and rename(2) take whatever a name shows when they are
// done, and only an open file keeps that what it was; so where that came to an
// end they may have taken one content that came from elsewhere meanwhile, as
// they would on any disk. What is written to a file has no such excuse: a
// handle that cannot be what it was must refuse.
func (i *island) slip(f *os.File, name string, life int) {
	if i.life() == life || f.Sync() == nil {
		return
	}
	i.note("slip %s", name)
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.slips = append(i.w.slips, step{name: name, at: len(i.w.trace)})
}

// excused says whether a removal may have taken a content that it did not see,
// and uses that removal up: it takes one.
func (w *islands) excused(token string) bool {
	b, names := w.born[token], w.names(token)
	for n, s := range w.slips {
		if s.at >= b.at && names[s.name] {
			w.slips = slices.Delete(w.slips, n, n+1)
			return true
		}
	}
	return false
}

// names are those that a content can have come to.
func (w *islands) names(token string) map[string]bool {
	b := w.born[token]
	names := map[string]bool{b.name: true}
	for _, m := range w.moved {
		if m.at >= b.at && names[m.name] {
			names[m.to] = true
		}
	}
	return names
}

// dirOrName is name or, three times of four, its directory: most names are to
// be files, and their directories there.
func (i *island) dirOrName(name string) string {
	if i.rand.IntN(4) == 0 {
		return name
	}
	return filepath.Dir(name)
}

func (i *island) path() string {
	dirs := []string{"", "a", "a/b", "c"}
	return filepath.Join(dirs[i.rand.IntN(len(dirs))], string(rune('p'+i.rand.IntN(5))))
}

// tokenLen is how long what tells contents apart is.
const tokenLen = 12

// fresh is a content that nobody has had.
func (i *island) fresh() (token string, content []byte) {
	i.w.mu.Lock()
	i.w.count++
	token = fmt.Sprintf("%d-%08d-%s", i.number, i.w.count, ".")[:tokenLen]
	i.w.mu.Unlock()
	sizes := []int{0, 100, 5000, 70000, 300000}
	return token, append([]byte(token), bytes.Repeat([]byte(token), sizes[i.rand.IntN(len(sizes))]/tokenLen)...)
}

func tokenOf(f io.ReaderAt) (string, error) {
	b := make([]byte, tokenLen)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return string(b[:n]), err
}

// seize opens what a name shows for writing, which keeps the name showing it:
// what is done to the name then is done to that.
func (i *island) seize(name string, flags int) (f *os.File, old string, err error) {
	life := i.life()
	f, err = os.OpenFile(filepath.Join(i.mnt, name), os.O_RDWR|flags, 0o644)
	if err != nil {
		return nil, "", err
	}
	if old, err = tokenOf(f); err != nil { // it may be where nobody can reach it now
		f.Close()
		return nil, "", err
	}
	i.note("seized %s, %q is there", name, old)
	i.sight(f, name, old, life)
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	if old != "" {
		i.w.over[old] = true
	}
	return f, old, nil
}

// done notes that what replaced old is durable.
func (i *island) done(what, name, old, fresh string) {
	i.note("%s %s, %q was there, now %q", what, name, old, fresh)
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.effects[what]++
	if old != "" && i.w.acked[old] {
		i.w.gone[old] = true
	}
	if fresh != "" {
		i.w.acked[fresh] = true
		i.w.born[fresh] = step{name: name, at: len(i.w.trace)}
	}
}

func (i *island) write(name string) error {
	f, old, err := i.seize(name, os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	token, content := i.fresh()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	i.done("write", name, old, token)
	return nil
}

func (i *island) remove(name string) error {
	life := i.life()
	f, old, err := i.seize(name, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	defer i.slip(f, name, life)
	if err := os.Remove(filepath.Join(i.mnt, name)); err != nil {
		return err
	}
	if err := i.syncDir(name); err != nil {
		return err
	}
	i.done("remove", name, old, "")
	return nil
}

// rename moves a file, whose content stays what it is, over another, which is
// made if it is not there: it could come from elsewhere at any moment.
func (i *island) rename(from, to string) error {
	life := i.life()
	f, old, err := i.seize(to, os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	defer i.slip(f, to, life)
	i.move(from, to)
	if err := os.Rename(filepath.Join(i.mnt, from), filepath.Join(i.mnt, to)); err != nil {
		return err
	}
	if err := i.syncDir(to); err != nil {
		return err
	}
	i.done("rename", from+" to "+to, old, "")
	return nil
}

// move notes that what is at from may be at to from now on.
func (i *island) move(from, to string) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.moved = append(i.w.moved, step{name: from, to: to, at: len(i.w.trace)})
}

func (i *island) syncDir(name string) error {
	d, err := os.Open(filepath.Dir(filepath.Join(i.mnt, name)))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
