package vol

import "context"

// Stats are a volume's figures.
type Stats struct {
	Files          int64  // names that show something other than a directory
	Dirs           int64  // without the root
	LogicalBytes   int64  // sizes of the files, holes included; of those being written as of the last commit group
	Conflicts      int64  // names with versions that differ
	ConflictChange uint64 // goes up, while the volume is open, when a version of any of these may be another
	DirtyBytes     int64  // memory that bytes not yet durable take
	DirtyNames     int64  // names changed and not yet durable
	CachedNames    int64  // names in memory
	Handles        int64  // open files
	Refs           int64  // Refs of Nodes that were not undone
}

// Stats returns the figures. It does no I/O.
func (v *Volume) Stats(ctx context.Context) (Stats, error) {
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return Stats{}, errClosed
	}
	f := v.state.figures
	s := Stats{
		Files: f.files, Dirs: f.dirs, LogicalBytes: f.bytes, Conflicts: f.conflicts, ConflictChange: v.conflictChange,
		DirtyBytes: v.env.dirtyBytes(), DirtyNames: int64(len(v.now.entries)), CachedNames: int64(v.cache.n),
		Handles: v.handles, Refs: v.refs,
	}
	if v.commit != nil {
		s.DirtyNames += int64(len(v.commit.entries))
	}
	return s, nil
}
