package p9test

import (
	"strings"

	"bazil/p9srv"
)

// msgFields says how the fields of a message are laid out: name:kind, where
// kind is a number of bytes, s for a string, qid, names, qids, data, dirents
// or stat.
var msgFields = map[string]string{
	"Tversion": "msize:4 version:s", "Rversion": "msize:4 version:s",
	"Tauth": "afid:4 uname:s aname:s", "Tattach": "fid:4 afid:4 uname:s aname:s", "Rattach": "qid:qid",
	"Rerror": "ename:s", "Rlerror": "errno:errno", "Tflush": "oldtag:2", "Rflush": "",
	"Twalk": "fid:4 newfid:4 names:names", "Rwalk": "qids:qids",
	"Topen": "fid:4 mode:1", "Ropen": "qid:qid iounit:4",
	"Tcreate": "fid:4 name:s perm:4 mode:1", "Rcreate": "qid:qid iounit:4",
	"Tread": "fid:4 offset:8 count:4", "Rread": "data:data", "Twrite": "fid:4 offset:8 data:data", "Rwrite": "count:4",
	"Tclunk": "fid:4", "Rclunk": "", "Tremove": "fid:4", "Rremove": "",
	"Tstat": "fid:4", "Rstat": "n:2 stat:stat", "Twstat": "fid:4 n:2 stat:stat", "Rwstat": "",
	"Tstatfs": "fid:4", "Rstatfs": "type:4 bsize:4 blocks:8 bfree:8 bavail:8 files:8 ffree:8 fsid:8 namelen:4",
	"Tlopen": "fid:4 flags:4", "Rlopen": "qid:qid iounit:4",
	"Tlcreate": "fid:4 name:s flags:4 mode:4 gid:4", "Rlcreate": "qid:qid iounit:4",
	"Tsymlink": "fid:4 name:s target:s gid:4", "Rsymlink": "qid:qid",
	"Tmknod": "dfid:4 name:s mode:4 major:4 minor:4 gid:4", "Rmknod": "qid:qid",
	"Trename": "fid:4 dfid:4 name:s", "Rrename": "", "Treadlink": "fid:4", "Rreadlink": "target:s",
	"Tgetattr":     "fid:4 mask:8",
	"Rgetattr":     "valid:8 qid:qid mode:4 uid:4 gid:4 nlink:8 rdev:8 size:8 blksize:8 blocks:8 atime:8 atime_nsec:8 mtime:8 mtime_nsec:8 ctime:8 ctime_nsec:8 btime:8 btime_nsec:8 gen:8 data_version:8",
	"Tsetattr":     "fid:4 valid:4 mode:4 uid:4 gid:4 size:8 atime:8 atime_nsec:8 mtime:8 mtime_nsec:8",
	"Rsetattr":     "",
	"Txattrwalk":   "fid:4 newfid:4 name:s",
	"Rxattrwalk":   "size:8",
	"Txattrcreate": "fid:4 name:s size:8 flags:4", "Rxattrcreate": "",
	"Treaddir": "fid:4 offset:8 count:4", "Rreaddir": "entries:dirents",
	"Tfsync": "fid:4 datasync:4", "Rfsync": "",
	"Tlock": "fid:4 type:1 flags:4 start:8 length:8 proc:4 client:s", "Rlock": "status:1",
	"Tgetlock": "fid:4 type:1 start:8 length:8 proc:4 client:s", "Rgetlock": "type:1 start:8 length:8 proc:4 client:s",
	"Tlink": "dfid:4 fid:4 name:s", "Rlink": "", "Tmkdir": "dfid:4 name:s mode:4 gid:4", "Rmkdir": "qid:qid",
	"Trenameat": "olddirfid:4 oldname:s newdirfid:4 newname:s", "Rrenameat": "",
	"Tunlinkat": "dirfid:4 name:s flags:4", "Runlinkat": "",
}

const statFields = "size:2 type:2 dev:4 qid:qid mode:4 atime:4 mtime:4 length:8 name:s uid:s gid:s muid:s"

// fieldsOf is the layout of a message in a dialect.
func fieldsOf(name, version string) ([]string, bool) {
	s, ok := msgFields[name]
	if version != "9P2000" {
		switch name {
		case "Tattach", "Tauth":
			s += " n_uname:4"
		case "Rerror":
			s += " errno:errno"
		case "Tcreate":
			s += " extension:s"
		}
	}
	return strings.Fields(s), ok
}

func statLayout(version string) []string {
	s := statFields
	if version != "9P2000" {
		s += " extension:s n_uid:4 n_gid:4 n_muid:4"
	}
	return strings.Fields(s)
}

var msgTypes = func() map[string]p9srv.MsgType {
	types := make(map[string]p9srv.MsgType)
	for t := range 256 {
		types[p9srv.MsgType(t).String()] = p9srv.MsgType(t)
	}
	return types
}()
