package vol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"bazil/store"
)

// contentEnv is what the contents of one volume share: the chunk store, the
// bound on unsaved bytes, the goroutines that seal and read ahead, and the
// opened extent chunks.
type contentEnv struct {
	chunks   chunkStore
	sealer   *store.Sealer
	reader   *store.Reader
	splitter *store.Splitter // without state, shared by all
	sealers  int             // goroutines that seal
	budget   *dirtyBudget
	pool     *sealPool
	recent   *recentSeals
	nodes    *nodeCache
	blocks   sync.Pool     // of *[blockSize]byte
	zeros    []byte        // never written to
	loose    atomic.Uint64 // chunks below writes that were not on disk

	ctx    context.Context // ends with close; reading ahead stops
	cancel context.CancelFunc
	aheads chan struct{} // a slot for each chunk being read ahead

	mu     sync.Mutex // guards closed, and wg against Add after Wait
	closed bool
	wg     sync.WaitGroup
}

// chunkStore is what contents need of a store.Chunks.
type chunkStore interface {
	Put(ctx context.Context, id store.ID, sealed []byte) (isNew bool, err error)
	Has(id store.ID) bool
	Durable(id store.ID) bool
	Hold() (release func())
}

// defaultDirtyLimit is the bound on a volume's unsaved bytes, and a quarter of
// it, or namesLimit, that on its unsaved names. More gains nothing: sealing
// begins while the client still writes and takes the processors that it needs.
// Through FUSE on two of them, 24 and 100 MiB of random bytes and of text were
// taken at 131 to 286 MB/s with 32 MiB, two rounds, and at 136 to 289 with 128;
// with the fsync behind them it was 2 to 5% less in either case. Memory was 153
// and 163 MiB, and 176 and 181.
const defaultDirtyLimit = 32 << 20

// newEnv returns an env that holds no goroutines until it is started; a
// dirtyLimit of 0 stands for defaultDirtyLimit.
func newEnv(chunks chunkStore, sealer *store.Sealer, reader *store.Reader, dirtyLimit int64) *contentEnv {
	if dirtyLimit <= 0 {
		dirtyLimit = defaultDirtyLimit
	}
	e := &contentEnv{
		chunks:   chunks,
		sealer:   sealer,
		reader:   reader,
		splitter: sealer.NewSplitter(),
		sealers:  runtime.GOMAXPROCS(0),
		budget:   newDirtyBudget(dirtyLimit),
		pool:     newSealPool(),
		recent:   newRecentSeals(),
		nodes:    newNodeCache(nodeCacheBytes),
		zeros:    make([]byte, smallMax),
		aheads:   make(chan struct{}, 4*runtime.GOMAXPROCS(0)),
	}
	e.blocks.New = func() any { return new([blockSize]byte) }
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// start starts the goroutines that seal.
func (e *contentEnv) start() { e.pool.start(e.sealers) }

// close stops all goroutines and waits for them. What is not flushed is lost.
func (e *contentEnv) close() {
	e.cancel()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.wg.Wait()
	e.pool.close()
}

// pressed gives a token whenever a writer waits for a flush.
func (e *contentEnv) pressed() <-chan struct{} { return e.budget.pressed }

// dirtyBytes is how much memory unsaved bytes take.
func (e *contentEnv) dirtyBytes() int64 { return e.budget.bytes() }

// background runs fn on a goroutine that close waits for, or not at all if
// too many run.
func (e *contentEnv) background(fn func(ctx context.Context)) bool {
	select {
	case e.aheads <- struct{}{}:
	default:
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		<-e.aheads
		return false
	}
	e.wg.Go(func() {
		fn(e.ctx)
		<-e.aheads
	})
	return true
}

// plaintext is what is to be stored as a chunk. If it is lent, its memory will
// be used for something else.
type plaintext struct {
	bytes []byte
	lent  bool
}

// sealData stores plain as a data chunk, or not at all if it is nothing but
// zeros: then the pointer is zero. buf is scratch memory, returned for the
// next call.
func (e *contentEnv) sealData(ctx context.Context, plain plaintext, buf []byte) (store.Pointer, []byte, error) {
	if allZero(plain.bytes) {
		return store.Pointer{}, buf, ctx.Err()
	}
	return e.seal(ctx, store.ChunkData, plain, buf)
}

// errDisk marks that a chunk could not be written for the disk's sake.
var errDisk = errors.New("disk failed")

// seal stores plain as a chunk, which can then be read without being opened.
func (e *contentEnv) seal(ctx context.Context, t store.ChunkType, plain plaintext, buf []byte) (store.Pointer, []byte, error) {
	if err := ctx.Err(); err != nil {
		return store.Pointer{}, buf, err
	}
	sum := e.sealer.Sum(t, plain.bytes)
	p, known := e.recent.find(&sum)
	if !known || !e.chunks.Has(p.ID) {
		var err error
		if p, buf, err = e.sealNew(ctx, t, plain.bytes, sum, buf); err != nil {
			return p, buf, err
		}
		e.recent.add(&sum, p)
	}
	if plain.lent {
		e.reader.KeepCopy(p, t, plain.bytes)
	} else {
		e.reader.Keep(p, t, plain.bytes)
	}
	return p, buf, nil
}

// sealNew seals what was not sealed lately.
func (e *contentEnv) sealNew(ctx context.Context, t store.ChunkType, plain []byte, sum store.Key, buf []byte) (store.Pointer, []byte, error) {
	p, sealed, err := e.sealer.SealSummed(buf[:0], t, plain, sum)
	if err != nil {
		return store.Pointer{}, buf, fmt.Errorf("seal a chunk: %w: %w", syscall.EIO, err)
	}
	if _, err := e.chunks.Put(ctx, p.ID, sealed); err != nil {
		if errors.Is(err, syscall.EIO) {
			err = fmt.Errorf("%w: %w", errDisk, err)
		}
		return store.Pointer{}, sealed, ioError("store chunk", p.ID, err)
	}
	return p, sealed, nil
}

// extentBytes returns n bytes of an extent's chunk, those at off in the file.
func (e *contentEnv) extentBytes(ctx context.Context, x *extent, off, n int64) ([]byte, error) {
	data, err := e.reader.Read(ctx, x.ptr, store.ChunkData)
	if err != nil {
		return nil, ioError("read chunk", x.ptr.ID, err)
	}
	at := x.at + off - x.off
	if at+n > int64(len(data)) {
		return nil, fmt.Errorf("chunk %v of %d bytes is shorter than its file says: %w", x.ptr.ID, len(data), syscall.EIO)
	}
	return data[at : at+n : at+n], nil
}

// extentNode opens an extent chunk.
func (e *contentEnv) extentNode(ctx context.Context, p store.Pointer, level int, lo int64, root bool) (*extentNode, error) {
	n := e.nodes.get(p)
	if n != nil && n.level == level && n.lo == lo && n.root == root {
		return n, nil
	}
	plain, err := e.reader.Read(ctx, p, store.ChunkExtents)
	if err != nil {
		return nil, ioError("read extent chunk", p.ID, err)
	}
	if n, err = decodeExtentNode(plain, level, lo, root); err != nil {
		return nil, fmt.Errorf("extent chunk %v: %w: %w", p.ID, syscall.EIO, err)
	}
	e.nodes.add(p, n)
	return n, nil
}

// local tells whether all data in [lo, hi) of s can be read without asking
// another device.
func (s *stored) local(ctx context.Context, lo, hi int64) bool {
	for lo < hi {
		x, n, err := s.segment(ctx, lo, hi-lo)
		if err != nil || (x != nil && !s.env.chunks.Has(x.ptr.ID)) {
			return false
		}
		lo += n
	}
	return true
}

// allZero compares p with itself, shifted by one.
func allZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}
