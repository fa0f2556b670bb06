package p9test

import (
	"strconv"
	"strings"
	"syscall"
)

// splitFields cuts a line at blanks outside quotes.
func splitFields(line string) []string {
	var words []string
	inside, start := false, -1
	for i := 0; i <= len(line); i++ {
		switch {
		case i == len(line) || line[i] == ' ' && !inside:
			if start >= 0 {
				words = append(words, line[start:i])
			}
			start = -1
			continue
		case line[i] == '"' && (i == 0 || line[i-1] != '\\'):
			inside = !inside
		}
		if start < 0 {
			start = i
		}
	}
	return words
}

func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return s
}

func quote(s string) string {
	q := strconv.Quote(s)
	if q[1:len(q)-1] != s || s == "" || strings.ContainsAny(s, " ,") {
		return q
	}
	return s
}

// errnoNames are those that traces use.
var errnoNames = map[string]syscall.Errno{
	"EPERM": syscall.EPERM, "ENOENT": syscall.ENOENT, "EINTR": syscall.EINTR, "EIO": syscall.EIO, "EBADF": syscall.EBADF,
	"EACCES": syscall.EACCES, "EBUSY": syscall.EBUSY, "EEXIST": syscall.EEXIST, "EROFS": syscall.EROFS, "ENOTDIR": syscall.ENOTDIR, "EISDIR": syscall.EISDIR,
	"EINVAL": syscall.EINVAL, "EFBIG": syscall.EFBIG, "ENOSPC": syscall.ENOSPC, "ENAMETOOLONG": syscall.ENAMETOOLONG,
	"ENOTEMPTY": syscall.ENOTEMPTY, "ENODATA": syscall.ENODATA, "EOPNOTSUPP": syscall.EOPNOTSUPP, "E2BIG": syscall.E2BIG,
	"ERANGE": syscall.ERANGE, "ENOSYS": syscall.ENOSYS, "ELOOP": syscall.ELOOP, "EMFILE": syscall.EMFILE, "EMSGSIZE": syscall.EMSGSIZE,
}

func errnoName(n uint64) string {
	for name, e := range errnoNames {
		if uint64(e) == n {
			return name
		}
	}
	return strconv.FormatUint(n, 10)
}

func parseNumber(s string) (uint64, error) {
	switch s {
	case "none", "nofid", "notag", "~0":
		return ^uint64(0), nil
	}
	if e, ok := errnoNames[s]; ok {
		return uint64(e), nil
	}
	if strings.HasPrefix(s, "-") {
		n, err := strconv.ParseInt(s, 0, 64)
		return uint64(n), err
	}
	return strconv.ParseUint(s, 0, 64)
}
