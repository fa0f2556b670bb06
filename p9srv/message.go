package p9srv

import "fmt"

// MsgType is the type byte of a message. A reply's type is its request's
// plus one.
type MsgType uint8

// The requests and the error replies of 9P2000, 9P2000.u and 9P2000.L.
const (
	Rlerror      MsgType = 7
	Tstatfs      MsgType = 8
	Tlopen       MsgType = 12
	Tlcreate     MsgType = 14
	Tsymlink     MsgType = 16
	Tmknod       MsgType = 18
	Trename      MsgType = 20
	Treadlink    MsgType = 22
	Tgetattr     MsgType = 24
	Tsetattr     MsgType = 26
	Txattrwalk   MsgType = 30
	Txattrcreate MsgType = 32
	Treaddir     MsgType = 40
	Tfsync       MsgType = 50
	Tlock        MsgType = 52
	Tgetlock     MsgType = 54
	Tlink        MsgType = 70
	Tmkdir       MsgType = 72
	Trenameat    MsgType = 74
	Tunlinkat    MsgType = 76
	Tversion     MsgType = 100
	Tauth        MsgType = 102
	Tattach      MsgType = 104
	Rerror       MsgType = 107
	Tflush       MsgType = 108
	Twalk        MsgType = 110
	Topen        MsgType = 112
	Tcreate      MsgType = 114
	Tread        MsgType = 116
	Twrite       MsgType = 118
	Tclunk       MsgType = 120
	Tremove      MsgType = 122
	Tstat        MsgType = 124
	Twstat       MsgType = 126
)

// Sizes and numbers that every dialect has.
const (
	HeaderSize = 7              // size[4] type[1] tag[2]
	NoTag      = ^uint16(0)     // the tag of Tversion
	NoFid      = ^uint32(0)     // no fid, as Tattach's afid
	MaxWalk    = 16             // names in one Twalk
	MaxName    = 255            // bytes of a name
	ReadHeader = HeaderSize + 4 // what an Rread or Rreaddir carries beside data
	// WriteHeader is what a Twrite carries beside data.
	WriteHeader = HeaderSize + 4 + 8 + 4
)

var messageNames = map[MsgType]string{
	Tstatfs: "statfs", Tlopen: "lopen", Tlcreate: "lcreate", Tsymlink: "symlink", Tmknod: "mknod",
	Trename: "rename", Treadlink: "readlink", Tgetattr: "getattr", Tsetattr: "setattr",
	Txattrwalk: "xattrwalk", Txattrcreate: "xattrcreate", Treaddir: "readdir", Tfsync: "fsync",
	Tlock: "lock", Tgetlock: "getlock", Tlink: "link", Tmkdir: "mkdir", Trenameat: "renameat",
	Tunlinkat: "unlinkat", Tversion: "version", Tauth: "auth", Tattach: "attach", Tflush: "flush",
	Twalk: "walk", Topen: "open", Tcreate: "create", Tread: "read", Twrite: "write", Tclunk: "clunk",
	Tremove: "remove", Tstat: "stat", Twstat: "wstat", Rlerror - 1: "lerror", Rerror - 1: "error",
}

// String is the message's name, as Twalk or Rwalk.
func (t MsgType) String() string {
	if name, ok := messageNames[t&^1]; ok {
		return string("TR"[t&1]) + name
	}
	return fmt.Sprintf("message %d", uint8(t))
}
