package store

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// memoryLimitFile says how much memory the control group may have that this
// process sees as the topmost, as in a container: a number, or "max".
const memoryLimitFile = "/sys/fs/cgroup/memory.max"

// memoryBytes is how much memory the machine, or the container, has; 0 if
// that cannot be told.
func memoryBytes() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	n := int64(info.Totalram) * int64(info.Unit)
	if b, err := os.ReadFile(memoryLimitFile); err == nil {
		if limit, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil {
			n = min(n, limit)
		}
	}
	return n
}
