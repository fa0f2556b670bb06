package vol

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// errClosed is what the methods of a closed volume give.
var errClosed = fmt.Errorf("volume is closed: %w", syscall.EIO)

// begin takes the namespace lock for a change. It waits while more was changed
// than memory is meant to hold; the error is then that of making it durable.
func (v *Volume) begin(ctx context.Context) error {
	if err := v.roomForMore(); err != nil {
		return err
	}
	return v.beginWithin(ctx, v.groupLimit())
}

// roomForMore fails while what is left of the disk is for removing.
func (v *Volume) roomForMore() error {
	if v.db.Tight() {
		return syscall.ENOSPC
	}
	return nil
}

// beginRemoval is begin for a change that gives room: one that can be made on
// a full disk, though what was changed before cannot be made durable there.
func (v *Volume) beginRemoval(ctx context.Context) error {
	err := v.beginWithin(ctx, v.groupLimit())
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return v.beginWithin(ctx, 4*v.groupLimit())
	}
	return err
}

// beginWithin is begin with a bound on what was changed, in bytes.
func (v *Volume) beginWithin(ctx context.Context, limit int) error {
	for {
		v.mu.Lock()
		if v.closed || v.ended {
			v.unlock()
			return errClosed
		}
		n := v.now.bytes
		if n > limit/2 {
			v.committer.wake()
		}
		if n < limit {
			return nil
		}
		g := v.now
		if v.commit != nil {
			g = v.commit
		}
		v.unlock()
		if err := g.wait(ctx); err != nil {
			return err
		}
	}
}

// groupLimit is how many bytes the names of a commit group may take, with the
// small files that are part of their records, as entry.takes counts them: what
// they take while they are written is several times that, and the next group
// gathers as much meanwhile. With small files bounded by DirtyLimit alone, a
// server that took in 10,000 of 4 KiB had 346 MiB of memory, now 140.
func (v *Volume) groupLimit() int { return int(max(min(v.o.DirtyLimit/4, namesLimit), 64*plainName)) }

// namesLimit bounds groupLimit whatever DirtyLimit is.
const namesLimit = 8 << 20

// wait returns when the group is durable, or could not be made so.
func (g *group) wait(ctx context.Context) error {
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
