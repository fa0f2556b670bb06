package ctlfs

// pages is a text that grows by pages, all but the last of them full, so that a
// long one is never copied, and needs no room twice: what conflicts tells of
// 100,000 names is 50 MB.
type pages [][]byte

const pageSize = 64 << 10

func pagesOf(text string) (t pages) {
	t.Write([]byte(text))
	return t
}

// Write appends p.
func (t *pages) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		last := len(*t) - 1
		switch {
		case last < 0:
			*t, last = append(*t, nil), 0
		case len((*t)[last]) == pageSize:
			*t, last = append(*t, make([]byte, 0, pageSize)), last+1
		}
		k := min(len(p), pageSize-len((*t)[last]))
		(*t)[last] = append((*t)[last], p[:k]...)
		p = p[k:]
	}
	return n, nil
}

// readAt copies what the text has at off.
func (t pages) readAt(p []byte, off int64) (n int) {
	for off >= 0 && off/pageSize < int64(len(t)) && n < len(p) {
		k := readAt(t[off/pageSize], p[n:], off%pageSize)
		if k == 0 {
			break
		}
		n, off = n+k, off+int64(k)
	}
	return n
}
