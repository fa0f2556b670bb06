package p9srv

import "syscall"

// listing is how far a directory was read by a fid of 9P2000, where a read
// goes on at the offset at which the last one ended, or anew at 0. In all
// dialects one request at a time reads a directory by one fid.
type listing struct {
	turn   chan struct{} // holds a token while nobody reads
	next   uint64        // the offset to go on at
	cookie uint64        // the tree's, at that offset
}

func newListing() *listing {
	l := &listing{turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// enter waits for the turn to read the directory.
func (l *listing) enter(ctx *requestContext) error {
	select {
	case <-l.turn:
		return nil
	default:
	}
	select {
	case <-l.turn:
		return nil
	case <-ctx.Done():
		return syscall.EINTR
	}
}

func (l *listing) leave() { l.turn <- struct{}{} }

// readDirPlain answers a Tread of a directory with whole stat records.
func (r *request) readDirPlain(f *fid, o *openFile, off uint64, n int) error {
	if r.sess.dialect == dialectL || o.dir == nil {
		return syscall.EISDIR
	}
	l := o.listing
	if err := l.enter(&r.ctx); err != nil {
		return err
	}
	defer l.leave()
	if off != 0 && off != l.next {
		return syscall.EINVAL
	}
	if off == 0 {
		l.next, l.cookie = 0, 0
	}
	r.out = put32(r.out, 0)
	at := len(r.out)
	cookie, err := r.listStats(f, o, l.cookie, n)
	if err != nil {
		return err
	}
	got := len(r.out) - at
	l.next, l.cookie = l.next+uint64(got), cookie
	r.setCount(got)
	return nil
}

// minStat is the size of a stat without its strings.
const minStat = 2 + 2 + 4 + 13 + 4 + 4 + 4 + 8 + 4*2

// listStats adds the stats of the entries behind cookie, n bytes at most, and
// says at which cookie to go on. v9fs fills up its buffer with ever smaller
// reads: there it is no error that the next entry does not fit.
func (r *request) listStats(f *fid, o *openFile, cookie uint64, n int) (uint64, error) {
	at := len(r.out)
	for {
		batch, err := r.nextEntries(o, cookie, n-(len(r.out)-at))
		if err != nil || len(batch) == 0 {
			return cookie, err
		}
		for _, d := range batch {
			fits, err := r.addStat(f, d.Name, at+n)
			switch {
			case err != nil:
				return cookie, err
			case !fits && len(r.out) == at && cookie == 0:
				return cookie, syscall.EINVAL // no room for even one
			case !fits:
				return cookie, nil
			}
			cookie = d.Offset
		}
		if len(r.out) > at {
			return cookie, nil
		}
	}
}

// nextEntries lists about as many entries as n bytes hold, and one at least.
func (r *request) nextEntries(o *openFile, cookie uint64, n int) (batch []Dirent, err error) {
	err = o.dir.ReadDir(&r.ctx, cookie, func(d Dirent) bool {
		n -= minStat + len(d.Name)
		batch = append(batch, d)
		return n > 0
	})
	if len(batch) > 0 {
		err = nil
	}
	return batch, err
}

// addStat adds the stat of an entry unless the reply would grow beyond end.
// An entry that has gone meanwhile is passed over.
func (r *request) addStat(f *fid, name string, end int) (fits bool, err error) {
	n, err := f.node.Walk(&r.ctx, name)
	if err != nil {
		return true, gone(err)
	}
	defer n.Release()
	s, err := r.statOf(&r.ctx, n, name)
	if err != nil {
		return true, gone(err)
	}
	at := len(r.out)
	r.out = s.append(r.out, r.sess.dialect)
	if len(r.out) > end {
		r.out = r.out[:at]
		return false, nil
	}
	return true, nil
}

// gone makes no error of an entry that cannot be looked at.
func gone(err error) error {
	if interrupted(err) {
		return err
	}
	return nil
}
