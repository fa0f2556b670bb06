package peer

import (
	"context"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"bazil/merge"
	"bazil/noiseconn"
	"bazil/p9srv"
	"bazil/store"
	"bazil/store/vol"
)

// home is a data directory with one volume, "v", in it.
type home struct {
	store  *store.Store
	sealer *store.Sealer
	volume *vol.Volume
	secret noiseconn.SecretKey
}

// sharing is the sharing key of all homes.
var sharing = store.SharingKey{1, 2, 3}

func newHome(t testing.TB, id vol.ID, fetch store.Fetcher) *home {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := store.Create(dir); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := &home{store: s, sealer: store.NewSealer(sharing), secret: noiseconn.SecretKey(s.SecretKey())}
	o := vol.Options{Chunks: s.Chunks(), Sealer: h.sealer, Fetch: fetch}
	path := filepath.Join(dir, "v.vol")
	if err := vol.Create(path, id, o); err != nil {
		t.Fatal(err)
	}
	if h.volume, err = vol.Open(path, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.volume.Close() })
	return h
}

// grants is a Backend over a home: what was granted to whom.
type grants struct {
	home *home

	mu      sync.Mutex // guards all below
	volumes []string
	storage []string
	keys    []noiseconn.PublicKey // who asked
}

func (g *grants) allow(volumes, storage []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.volumes, g.storage = volumes, storage
}

func (g *grants) Volumes(noiseconn.PublicKey) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.volumes
}

func (g *grants) Storage(noiseconn.PublicKey) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.storage
}

func (g *grants) Volume(key noiseconn.PublicKey, name string) (*vol.Volume, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = append(g.keys, key)
	switch {
	case !slices.Contains(g.volumes, name):
		return nil, &Denied{Key: key, What: "volume", Name: name}
	case name != "v":
		return nil, nil
	}
	return g.home.volume, nil
}

func (g *grants) Chunks(key noiseconn.PublicKey, backend string) (*store.Chunks, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = append(g.keys, key)
	switch {
	case !slices.Contains(g.storage, backend):
		return nil, &Denied{Key: key, What: "storage", Name: backend}
	case backend != LocalStorage:
		return nil, nil
	}
	return g.home.store.Chunks(), nil
}

// served is a home that one other device asks.
type served struct {
	*home
	grants *grants
	device *device
	client *Client
	asker  noiseconn.SecretKey
}

// serve serves a new home, with everything allowed.
func serve(t testing.TB) *served {
	t.Helper()
	s := &served{home: newHome(t, vol.NewID(), nil), asker: noiseconn.NewSecretKey()}
	s.grants = &grants{home: s.home}
	s.grants.allow([]string{"v", "later"}, []string{LocalStorage, "other"})
	s.start(t, "")
	s.client = New(func(ctx context.Context) (net.Conn, error) { return s.device.dialer(s.asker)(ctx) }, Options{})
	t.Cleanup(func() { s.client.Close() })
	return s
}

func (s *served) start(t testing.TB, addr string) {
	s.device = newDevice(t, s.secret, addr, func(key noiseconn.PublicKey) p9srv.Tree { return NewTree(s.grants, key, nil) })
}

// restart ends the device's connections and serves again at its address.
func (s *served) restart(t testing.TB) {
	addr := s.device.listener.Addr().String()
	s.device.end()
	s.start(t, addr)
}

// put stores n chunks of random bytes.
func (s *served) put(t testing.TB, n, size int) []store.ID {
	t.Helper()
	rnd := rand.NewChaCha8([32]byte{byte(n)})
	ids := make([]store.ID, n)
	plain := make([]byte, size)
	for i := range ids {
		rnd.Read(plain)
		p, sealed, err := s.sealer.Seal(nil, store.ChunkData, plain)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.store.Chunks().Put(t.Context(), p.ID, sealed); err != nil {
			t.Fatal(err)
		}
		ids[i] = p.ID
	}
	return ids
}

// write makes or overwrites a file, by path.
func write(t testing.TB, v *vol.Volume, dir *vol.Node, name string, data []byte) {
	t.Helper()
	ctx := t.Context()
	n, err := dir.Lookup(ctx, name)
	if err != nil {
		n, err = dir.Create(ctx, name, vol.New{Kind: merge.KindFile, Mode: 0o644})
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := n.Open(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Truncate(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(ctx, data, 0); err != nil {
		t.Fatal(err)
	}
}
