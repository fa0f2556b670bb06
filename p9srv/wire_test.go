package p9srv_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bazil/p9srv"
)

// Messages as text: a name and fields, as in
//
//	Twalk tag=1 fid=1 newfid=2 names=a,b
//
// Numbers are decimal, octal (0644) or hexadecimal; strings are quoted as Go
// quotes them where they hold blanks, quotes, commas or what does not print.

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
	"EACCES": syscall.EACCES, "EBUSY": syscall.EBUSY, "EEXIST": syscall.EEXIST, "ENOTDIR": syscall.ENOTDIR, "EISDIR": syscall.EISDIR,
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

// encodeMsg makes the bytes of a message of its text.
func encodeMsg(line, version string) ([]byte, error) {
	words := splitFields(line)
	typ, ok := msgTypes[words[0]]
	fields, known := fieldsOf(words[0], version)
	if !ok || !known {
		return nil, fmt.Errorf("no message %q", words[0])
	}
	values := make(map[string]string)
	for _, w := range words[1:] {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("no field=value: %q", w)
		}
		values[k] = v
	}
	tag := uint64(1)
	if v, ok := values["tag"]; ok {
		tag, _ = parseNumber(v)
	}
	b := []byte{0, 0, 0, 0, byte(typ), byte(tag), byte(tag >> 8)}
	b, err := encodeFields(b, fields, values, version)
	if err != nil {
		return nil, err
	}
	b = append(b, unquote(values["extra"])...)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	return b, nil
}

func encodeFields(b []byte, fields []string, values map[string]string, version string) ([]byte, error) {
	for _, f := range fields {
		name, kind, _ := strings.Cut(f, ":")
		v, given := values[name]
		switch kind {
		case "1", "2", "4", "8", "errno":
			n := uint64(0)
			if name == "afid" || name == "n_uname" || strings.HasPrefix(name, "n_") {
				n = ^uint64(0)
			}
			if given {
				var err error
				if n, err = parseNumber(v); err != nil {
					return nil, fmt.Errorf("field %s: %w", name, err)
				}
			}
			size, _ := strconv.Atoi(kind)
			b = append(b, binary.LittleEndian.AppendUint64(nil, n)[:size]...)
		case "s":
			b = p9srv.AppendString(b, unquote(v))
		case "data":
			data := unquote(v)
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
		case "names":
			var names []string
			if v != "" {
				names = strings.Split(v, ",")
			}
			b = binary.LittleEndian.AppendUint16(b, uint16(len(names)))
			for _, n := range names {
				b = p9srv.AppendString(b, unquote(n))
			}
		case "stat":
			s, err := encodeStat(values, version)
			if err != nil {
				return nil, err
			}
			binary.LittleEndian.PutUint16(b[len(b)-2:], uint16(len(s)))
			b = append(b, s...)
		default:
			return nil, fmt.Errorf("field %s: cannot encode %s", name, kind)
		}
	}
	return b, nil
}

// encodeStat makes a stat of the fields named stat.X; others say "don't
// touch".
func encodeStat(values map[string]string, version string) ([]byte, error) {
	var b []byte
	for _, f := range statLayout(version) {
		name, kind, _ := strings.Cut(f, ":")
		v, given := values["stat."+name]
		switch kind {
		case "s":
			b = p9srv.AppendString(b, unquote(v))
		case "qid":
			b = append(b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"...)
		default:
			n := ^uint64(0)
			if given {
				var err error
				if n, err = parseNumber(v); err != nil {
					return nil, fmt.Errorf("field %s: %w", name, err)
				}
			}
			size, _ := strconv.Atoi(kind)
			b = append(b, binary.LittleEndian.AppendUint64(nil, n)[:size]...)
		}
	}
	binary.LittleEndian.PutUint16(b, uint16(len(b)-2))
	return b, nil
}

func qidText(q p9srv.QID) string {
	kind := ""
	for _, k := range []struct {
		bit  p9srv.QIDType
		name string
	}{{p9srv.QTDir, "d"}, {p9srv.QTAppend, "a"}, {p9srv.QTExcl, "x"}, {p9srv.QTSymlink, "l"}} {
		if q.Type&k.bit != 0 {
			kind += k.name
		}
	}
	if kind == "" {
		kind = "f"
	}
	return fmt.Sprintf("%s:%d", kind, q.Path)
}

// decodeMsg makes the text of a message: its name and its fields by name.
func decodeMsg(msg []byte, version string) (string, map[string]string, error) {
	name := p9srv.MsgType(msg[4]).String()
	fields, ok := fieldsOf(name, version)
	if !ok {
		return name, nil, fmt.Errorf("unknown message %s", name)
	}
	values := map[string]string{"tag": fmt.Sprint(binary.LittleEndian.Uint16(msg[5:]))}
	d := p9srv.NewDecoder(msg[p9srv.HeaderSize:])
	decodeFields(&d, fields, values, "", version)
	if d.Bad() || d.Len() > 0 {
		return name, values, fmt.Errorf("%s of %d bytes does not parse", name, len(msg))
	}
	return name, values, nil
}

func decodeFields(d *p9srv.Decoder, fields []string, values map[string]string, prefix, version string) {
	for _, f := range fields {
		name, kind, _ := strings.Cut(f, ":")
		switch kind {
		case "1":
			values[prefix+name] = fmt.Sprint(d.U8())
		case "2":
			values[prefix+name] = fmt.Sprint(d.U16())
		case "4":
			n := d.U32()
			values[prefix+name] = fmt.Sprint(n)
			if name == "mode" {
				values[prefix+name] = fmt.Sprintf("%#o", n)
				if strings.HasPrefix(prefix, "stat.") {
					values[prefix+name] = fmt.Sprintf("%#x", n)
				}
			}
		case "8":
			values[prefix+name] = fmt.Sprint(d.U64())
		case "errno":
			values[prefix+name] = errnoName(uint64(d.U32()))
		case "s":
			values[prefix+name] = quote(d.String())
		case "qid":
			values[prefix+name] = qidText(d.QID())
		case "qids":
			var all []string
			for range d.U16() {
				all = append(all, qidText(d.QID()))
			}
			values[prefix+name] = strings.Join(all, ",")
		case "data":
			data := d.Bytes(int(d.U32()))
			values[prefix+name] = quote(string(data))
			values[prefix+"count"] = fmt.Sprint(len(data))
			values[prefix+"dir"] = statNames(data, version)
		case "dirents":
			in := p9srv.NewDecoder(d.Bytes(int(d.U32())))
			var all []string
			for in.Len() > 0 {
				q, off, typ, name := in.QID(), in.U64(), in.U8(), in.String()
				all = append(all, fmt.Sprintf("%s/%d", quote(name), typ))
				values["last"] = fmt.Sprint(off)
				_ = q
			}
			values[prefix+name] = strings.Join(all, ",")
		case "stat":
			decodeFields(d, statLayout(version), values, "stat.", version)
		}
	}
}

// statNames are the names in the bytes of a directory of 9P2000.
func statNames(data []byte, version string) string {
	d := p9srv.NewDecoder(data)
	var names []string
	for d.Len() > 0 && !d.Bad() {
		values := make(map[string]string)
		decodeFields(&d, statLayout(version), values, "", version)
		names = append(names, values["name"])
	}
	return strings.Join(names, ",")
}

// readMsg reads one message.
func readMsg(t testing.TB, c net.Conn) []byte {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var h [4]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		t.Fatal("reading a reply: ", err)
	}
	n := binary.LittleEndian.Uint32(h[:])
	if n < p9srv.HeaderSize || n > 16<<20 {
		t.Fatalf("reply of %d bytes", n)
	}
	msg := append(h[:], make([]byte, n-4)...)
	if _, err := io.ReadFull(c, msg[4:]); err != nil {
		t.Fatal("reading a reply: ", err)
	}
	return msg
}

// tell sends a message of 9P2000.L.
func tell(t testing.TB, c net.Conn, text string) {
	t.Helper()
	msg, err := encodeMsg(text, "9P2000.L")
	if err == nil {
		_, err = c.Write(msg)
	}
	if err != nil {
		t.Fatal(text, ": ", err)
	}
}

// say sends a message of 9P2000.L and expects that reply next.
func say(t testing.TB, c net.Conn, text, reply string) map[string]string {
	t.Helper()
	tell(t, c, text)
	name, values, err := decodeMsg(readMsg(t, c), "9P2000.L")
	if err != nil || name != reply {
		t.Fatal(text, ": ", name, " ", values, " ", err)
	}
	return values
}
