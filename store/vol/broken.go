package vol

import (
	"fmt"
	"runtime/debug"
	"syscall"
)

// errBroken is what is left of a volume in which a panic went through the
// namespace lock.
var errBroken = fmt.Errorf("volume stopped after an internal error; restart the server: %w", syscall.EIO)

// unlock gives the namespace lock free. Entries leave memory only here, so
// that what was found stays as long as the lock is held.
//
// A panic that passes here left a change half done. Whoever serves the volume
// may go on after it, so the volume itself must not: memory is not trusted any
// more, nothing of it becomes durable, and what is on disk is as after a crash.
func (v *Volume) unlock() {
	if p := recover(); p != nil {
		v.stopBroken(p)
		v.mu.Unlock()
		panic(p)
	}
	v.shrink(8)
	v.mu.Unlock()
}

// stopBroken fails all that is asked of the volume from now on, and all who
// wait for changes to be durable. v.mu is held. A group that was closed before
// is of a sound moment, and may still be written.
func (v *Volume) stopBroken(p any) {
	if v.broken {
		return
	}
	v.o.Log.Error("internal error: the volume is stopped", "volume", v.id.String(), "panic", p, "stack", string(debug.Stack()))
	v.broken, v.closed = true, true
	v.now.err = errBroken
	close(v.now.done)
	v.env.budget.refuse(errBroken)
	v.watch.wake()
}
