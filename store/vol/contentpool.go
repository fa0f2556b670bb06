package vol

import (
	"context"
	"runtime"
	"sync"
)

// sealPool runs the jobs that compress and seal, on as many goroutines as it
// was started with. Its queue holds only data that the dirty budget counts.
type sealPool struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	spare  sync.Pool // of *[]byte, for jobs that are done elsewhere

	mu     sync.Mutex // guards all below
	wake   sync.Cond
	queue  []sealJob
	closed bool
}

// sealJob is done with the pool's context and a buffer that it may use and
// hand back grown.
type sealJob func(ctx context.Context, buf []byte) []byte

func newSealPool() *sealPool {
	p := &sealPool{}
	p.wake.L = &p.mu
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *sealPool) start(workers int) {
	for range workers {
		p.wg.Go(p.work)
	}
}

// close cancels the jobs and waits for them: those in the queue find their
// context ended.
func (p *sealPool) close() {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wake.Broadcast()
	p.wg.Wait()
}

// submit never waits. After close the job is done at once, and in vain.
func (p *sealPool) submit(job sealJob) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.queue = append(p.queue, job)
	}
	p.mu.Unlock()
	if closed {
		job(p.ctx, nil)
		return
	}
	p.wake.Signal()
}

// do does a job on the goroutine of the caller.
func (p *sealPool) do(ctx context.Context, job func(ctx context.Context, buf []byte) ([]byte, error)) error {
	buf, _ := p.spare.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer p.spare.Put(buf)
	var err error
	*buf, err = job(ctx, *buf)
	return err
}

func (p *sealPool) work() {
	var buf []byte
	for {
		job := p.next()
		if job == nil {
			return
		}
		buf = job(p.ctx, buf)
		runtime.Gosched() // requests that came meanwhile are short, and somebody waits for them
	}
}

func (p *sealPool) next() sealJob {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 {
		if p.closed {
			return nil
		}
		p.wake.Wait()
	}
	job := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return job
}

// sealGroup is a set of jobs of one owner, who waits for them. At most cap of
// them are in the pool at once, so that what they hold stays bounded. If that
// is one, the owner does them: the way to another goroutine and back costs as
// much as sealing a block.
type sealGroup struct {
	pool  *sealPool
	slots chan struct{} // nil: the owner does the jobs
	wg    sync.WaitGroup

	mu  sync.Mutex // guards err
	err error
}

func newSealGroup(p *sealPool, limit int) *sealGroup {
	if limit == 1 {
		return &sealGroup{pool: p}
	}
	return &sealGroup{pool: p, slots: make(chan struct{}, limit)}
}

// run hands a job to the pool once there is a slot for it, or does it. It
// gives up with the error of ctx, or that of a job that failed before.
func (g *sealGroup) run(ctx context.Context, job func(ctx context.Context, buf []byte) ([]byte, error)) error {
	if err := g.failed(); err != nil {
		return err
	}
	if g.slots == nil {
		err := g.pool.do(ctx, job)
		g.fail(err)
		return err
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.wg.Add(1)
	g.pool.submit(func(ctx context.Context, buf []byte) []byte {
		defer g.wg.Done()
		buf, err := job(ctx, buf)
		g.fail(err)
		<-g.slots
		return buf
	})
	return nil
}

func (g *sealGroup) fail(err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	if g.err == nil {
		g.err = err
	}
	g.mu.Unlock()
}

func (g *sealGroup) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// wait waits for all jobs and returns the first error.
func (g *sealGroup) wait() error {
	g.wg.Wait()
	return g.failed()
}
