package replica

import (
	"bazil/merge"
	"bazil/store/vol"
)

// node is a directory of a pull from when it is to be asked for until it is
// finished. Only the pull's goroutine that holds the turn uses it.
type node struct {
	up     *node
	depth  int
	remote uint64        // the peer's number; 0: the root, or lacking
	lack   *vol.DirState // what to join where the peer has no such directory
	local  uint64
	known  merge.Context // what the peer is asked with

	theirs  *merge.View // once it was joined: of those that wait there may be very many
	todo    int         // directories below that are not done, and one until all pieces were joined
	lost    bool        // it is no longer there, or here
	gone    bool        // it is no longer here
	changed bool        // something in it
	partial bool        // something below could not be pulled
	tainted bool        // its names have changed since they were joined, or its subdirectories gone
	again   int         // how often it was joined anew for that
}

// maxAgain is how often a directory that others keep changing is joined anew
// before it is left to the next pull.
const maxAgain = 16

func (n *node) sub(s vol.Sub) *node {
	return &node{up: n, depth: n.depth + 1, remote: s.Remote, lack: s.Lack, local: s.Local, known: s.Known}
}

func (n *node) request() vol.DirRequest {
	return vol.DirRequest{Dir: n.remote, Known: n.known}
}
