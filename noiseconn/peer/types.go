package peer

import (
	"bazil/merge"
	"bazil/store/vol"
)

// DirRequest asks for the state of the directory with the sender's number
// Dir, 0 for the root; Known is what the asker knows of it (merge.View.Ctx).
type DirRequest = struct {
	Dir   uint64
	Known merge.Context
}

// Info says which volume it is, and which replica.
type Info = struct {
	ID      vol.ID
	Replica merge.ReplicaID
}
