package peer

import (
	"context"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"

	"bazil/noiseconn"
	"bazil/p9srv"
	"bazil/store"
	"bazil/store/vol"
)

// Backend is what a device lets its peers see. It is asked by many goroutines
// at once, at every request and for every piece of an answer, so that a
// permission that is taken away ends what goes on under it.
type Backend interface {
	// Volumes and Storage list the names that key may use.
	Volumes(key noiseconn.PublicKey) []string
	Storage(key noiseconn.PublicKey) []string
	// Volume and Chunks return the thing itself, or a *Denied or *Absent.
	// The text of other errors is logged and not sent.
	Volume(key noiseconn.PublicKey, name string) (*vol.Volume, error)
	Chunks(key noiseconn.PublicKey, backend string) (*store.Chunks, error)
}

// maxOpen is how many files of one connection may be open at once.
const maxOpen = 64

// NewTree returns the tree to be shown on one connection, to the device with
// the given key. Log gets what fails here; nil: nothing is logged.
func NewTree(b Backend, key noiseconn.PublicKey, log *slog.Logger) p9srv.Tree {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &tree{backend: b, key: key, epoch: newEpoch(), log: log.With("peer", key.Short())}
}

type tree struct {
	backend Backend
	key     noiseconn.PublicKey
	epoch   uint64 // of the counters that this connection is told
	log     *slog.Logger
	open    atomic.Int32 // files
}

// Attach returns the root, whoever attaches.
func (t *tree) Attach(_ context.Context, _ p9srv.User, aname string) (p9srv.Node, error) {
	if aname != "" && aname != "/" {
		return nil, syscall.ENOENT
	}
	return &node{tree: t, place: root}, nil
}

// place is a kind of node.
type place uint8

const (
	root place = iota
	storage
	backend
	chunks
	volumes
	volume
	info
	replicas
	pull
	events
)

// layout says what stands where: the names of a place, or what is below any
// name in it.
var layout = [...]struct {
	fixed map[string]place
	any   place
}{
	root:    {fixed: map[string]place{"storage": storage, "volumes": volumes}},
	storage: {any: backend},
	backend: {fixed: map[string]place{"chunks": chunks}},
	volumes: {any: volume},
	volume:  {fixed: map[string]place{"info": info, "replicas": replicas, "pull": pull, "events": events}},
	events:  {},
}

// node is a file or directory of the tree.
type node struct {
	tree  *tree
	place place
	path  []string
}

func (n *node) isDir() bool { return layout[n.place].fixed != nil || layout[n.place].any != root }

// QID has a path made from the names, and a version that forbids caching.
func (n *node) QID() p9srv.QID {
	h := fnv.New64a()
	h.Write([]byte(strings.Join(n.path, "/")))
	q := p9srv.QID{Path: h.Sum64()}
	if n.isDir() {
		q.Type = p9srv.QTDir
	}
	return q
}

// Attr is the same for everybody.
func (n *node) Attr(context.Context) (p9srv.Attr, error) {
	if n.isDir() {
		return p9srv.Attr{Mode: syscall.S_IFDIR | 0o555, NLink: 2}, nil
	}
	return p9srv.Attr{Mode: syscall.S_IFREG | 0o666, NLink: 1}, nil
}

// Walk finds a name. In a directory of volumes or backends each name is one.
func (n *node) Walk(_ context.Context, name string) (p9srv.Node, error) {
	if !n.isDir() {
		return nil, syscall.ENOTDIR
	}
	if name == ".." {
		return n.parent(), nil
	}
	l := layout[n.place]
	to, ok := l.fixed[name]
	if l.any != root {
		to, ok = l.any, validName(name)
	}
	if !ok {
		return nil, syscall.ENOENT
	}
	return n.child(name, to), nil
}

func (n *node) child(name string, to place) *node {
	return &node{tree: n.tree, place: to, path: append(n.path[:len(n.path):len(n.path)], name)}
}

// parent returns the node above; the root is its own.
func (n *node) parent() *node {
	up := &node{tree: n.tree}
	for _, name := range n.path[:max(len(n.path)-1, 0)] {
		to := layout[up.place].any
		if to == root {
			to = layout[up.place].fixed[name]
		}
		up = up.child(name, to)
	}
	return up
}

// validName is true for names a volume or backend can have.
func validName(name string) bool {
	return name != "" && name != "." && len(name) <= 255 && !strings.ContainsAny(name, "/\x00")
}

// Open opens a directory for listing, a file for questions and answers. The
// info file needs no question.
func (n *node) Open(ctx context.Context, flags uint32) (p9srv.File, error) {
	if n.isDir() {
		return &listing{node: n}, nil
	}
	if n.tree.open.Add(1) > maxOpen {
		n.tree.open.Add(-1)
		return nil, syscall.EMFILE
	}
	f := newAsked(n.answers(), n.tree.log, func() { n.tree.open.Add(-1) })
	if n.place == info && flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		f.ask(ctx, 0, nil)
	}
	return f, nil
}

// answers returns what answers this file's questions.
func (n *node) answers() answers {
	switch name := n.path[1]; n.place {
	case chunks:
		return n.tree.chunks(name)
	case info:
		return n.tree.info(name)
	case replicas:
		return n.tree.replicas(name)
	case pull:
		return n.tree.pull(name)
	default:
		return n.tree.events(name)
	}
}

// Release has nothing to do.
func (n *node) Release() {}
