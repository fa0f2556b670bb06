package export

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"testing"

	"bazil/merge"
	"bazil/p9srv"
	"bazil/p9srv/p9test"
	"bazil/store/vol"
)

// FuzzSession sends the server of a volume what it likes and hangs up. Nothing
// may stay of it: no goroutine, no open file, no node, no memory.
func FuzzSession(f *testing.F) {
	m := newManager(f)
	volume := m.Root.Volumes.(one).v
	s := &p9srv.Server{Tree: m.Root.Limit(Spec{Volume: "files"}), MaxRequests: 4, MaxFids: 64, MaxMsize: 1 << 16, Locks: &m.locks}
	sessions := 0
	p9test.Fuzz(f, "../testdata", func(t *testing.T, version string, stream []byte) {
		sessions++
		dir := strconv.Itoa(sessions)
		_, err := volume.Root().Create(t.Context(), dir, vol.New{Kind: merge.KindDir, Mode: 0o755})
		must(t, err)
		p9test.Converse(t, func(c net.Conn) error {
			return s.ServeConn(context.Background(), c)
		}, version, dir, stream)
		nothingHeld(t, volume)
		removeAll(t, volume.Root(), dir)
		if sessions%512 == 0 {
			boundedMemory(t)
		}
	})
}

// nothingHeld checks that nobody has a file of the volume.
func nothingHeld(t testing.TB, v *vol.Volume) {
	t.Helper()
	s, err := v.Stats(t.Context())
	must(t, err)
	if s.Handles != 0 || s.Refs != 0 {
		t.Fatalf("%d files are open, %d nodes held", s.Handles, s.Refs)
	}
}

func removeAll(t testing.TB, dir *vol.Node, name string) {
	t.Helper()
	n, err := dir.Lookup(t.Context(), name)
	must(t, err)
	if n.Kind() != merge.KindDir {
		must(t, dir.Unlink(t.Context(), name))
		return
	}
	entries, err := n.List(t.Context())
	must(t, err)
	for _, e := range entries {
		removeAll(t, n, e.Name)
	}
	must(t, dir.Rmdir(t.Context(), name))
}

func boundedMemory(t testing.TB) {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 512<<20 {
		t.Fatalf("%d MiB in use", m.HeapAlloc>>20)
	}
}
