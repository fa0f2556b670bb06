package daemon

import (
	"fmt"
	"path"
	"syscall"
	"testing"

	"bazil/merge"
	"bazil/store/vol"
)

// tearApart makes servers that disagree about n names: half of them in one
// directory, the others ten to a directory.
func tearApart(b *testing.B, n int) (black *Daemon) {
	white, black := couple(b)
	must(b, white, "peer storage allow black local", "peer volume allow black v")
	must(b, black, "volume connect white v sharing=whites")
	for _, d := range []*Daemon{white, black} {
		v := d.volumes.get("v").vol
		dirs := make(map[string]*vol.Node)
		for i := range n {
			at := tornPath(i, n)
			dir := dirs[path.Dir(at)]
			if dir == nil {
				var err error
				if dir, err = v.Root().Create(b.Context(), path.Dir(at), vol.New{Kind: merge.KindDir, Mode: 0o755}); err != nil {
					b.Fatal(err)
				}
				dirs[path.Dir(at)] = dir
			}
			f, err := dir.Create(b.Context(), path.Base(at), vol.New{Kind: merge.KindFile, Mode: 0o644})
			if err != nil {
				b.Fatal(err)
			}
			h, err := f.Open(b.Context(), true)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := h.WriteAt(b.Context(), []byte(d.PublicKey()), 0); err != nil {
				b.Fatal(err)
			}
			if err := h.Close(); err != nil {
				b.Fatal(err)
			}
		}
		if err := v.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	must(b, black, "sync v white")
	return black
}

func tornPath(i, n int) string {
	if i < n/2 {
		return fmt.Sprintf("one/file%d", i)
	}
	return fmt.Sprintf("dir%d/file%d", i/10, i)
}

// BenchmarkConflicts has 10,000 names in conflict. Each part is what a user
// does with them.
func BenchmarkConflicts(b *testing.B) {
	const n = 10000
	black := tearApart(b, n)
	root := attach(b, black, "ctl/volumes/v/conflicts")
	b.Run("info", func(b *testing.B) {
		buf := make([]byte, 4096)
		for i := range b.N {
			f, err := open(b.Context(), root, tornPath(i*7919%n, n)+"/info")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := f.ReadAt(b.Context(), buf, 0); err != nil {
				b.Fatal(err)
			}
			if err := f.Clunk(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ls", func(b *testing.B) {
		for range b.N {
			f, err := root.Walk(b.Context(), "one")
			if err != nil {
				b.Fatal(err)
			}
			if err := f.Open(b.Context(), syscall.O_RDONLY); err != nil {
				b.Fatal(err)
			}
			got := 0
			for off := uint64(0); ; {
				list, err := f.ReadDir(b.Context(), off, 64<<10)
				if err != nil {
					b.Fatal(err)
				}
				if len(list) == 0 {
					break
				}
				got, off = got+len(list), list[len(list)-1].Offset
			}
			if got != n/2+2 { // . and ..
				b.Fatalf("%d names, want %d", got, n/2+2)
			}
			if err := f.Clunk(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, line := range []string{"conflicts v", "status", "sync v white"} {
		b.Run(line, func(b *testing.B) {
			for range b.N {
				must(b, black, line)
			}
		})
	}
	ended := 0
	b.Run("resolve", func(b *testing.B) {
		for range b.N {
			must(b, black, fmt.Sprintf("resolve v one/file%d keep newest", ended))
			ended++
		}
	})
	b.Run("resolve rest", func(b *testing.B) { // once, so with -benchtime 1x
		must(b, black, "resolve v ** keep mine")
	})
}
