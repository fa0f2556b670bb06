package p9srv_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv"
)

// TestTraces plays the conversations in testdata against a server of a
// fresh folder. A file has, line by line:
//
//	# comment
//	dir NAME [MODE]            makes a folder
//	file NAME [MODE [TEXT]]    makes a file
//	link NAME TARGET           makes a symlink
//	connect NAME               goes on with another connection of that name
//	> MESSAGE                  sends a message (wire_test.go says how it is written)
//	< MESSAGE                  expects a reply with these fields; others may be anything
//	                           $x stands for what it stood for before, or anything; comma lists of
//	                           names are compared whatever their order
//	? FILE TEXT                expects a file's content
//	! FILE                     expects that there is no such file
//	closed                     expects the server to close the connection
//
// Tversion sets the dialect that later messages are written in.
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	check(t, err)
	if len(files) == 0 {
		t.Fatal("no traces")
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { playFile(t, f) })
	}
}

var variable = regexp.MustCompile(`\$[a-z]+`)

type player struct {
	t        *testing.T
	dir      string
	path     string
	conns    map[string]net.Conn
	c        net.Conn
	name     string // of c
	version  string // of c
	versions map[string]string
	vars     map[string]string
	where    string
}

func playFile(t *testing.T, file string) {
	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	tree := tempTree(t)
	tree.flags = true
	p := &player{t: t, dir: tree.dir, path: listen(t, &p9srv.Server{Tree: tree}), conns: make(map[string]net.Conn), vars: make(map[string]string), versions: make(map[string]string)}
	p.connect("main")
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		p.where = fmt.Sprintf("%s:%d", file, n)
		p.line(strings.TrimSpace(in.Text()))
	}
	check(t, in.Err())
}

func (p *player) connect(name string) {
	if p.conns[name] == nil {
		p.conns[name] = dial(p.t, p.path)
	}
	p.versions[p.name] = p.version
	p.c, p.name, p.version = p.conns[name], name, "9P2000"
	if v := p.versions[name]; v != "" {
		p.version = v
	}
}

func (p *player) fatal(args ...any) {
	p.t.Helper()
	p.t.Fatal(p.where, ": ", fmt.Sprint(args...))
}

func (p *player) line(line string) {
	words := append(splitFields(line), "", "", "", "")
	switch words[0] {
	case "", "#":
	case "dir":
		p.must(os.Mkdir(p.file(words[1]), p.mode(words[2], 0o755)))
		p.must(syscall.Chmod(p.file(words[1]), uint32(p.mode(words[2], 0o755))))
	case "file":
		p.must(os.WriteFile(p.file(words[1]), []byte(unquote(words[3])), 0o600))
		p.must(syscall.Chmod(p.file(words[1]), uint32(p.mode(words[2], 0o644))))
	case "link":
		p.must(os.Symlink(unquote(words[2]), p.file(words[1])))
	case "connect":
		p.connect(words[1])
	case ">":
		p.send(line[2:])
	case "<":
		p.expect(line[2:])
	case "?":
		b, err := os.ReadFile(p.file(words[1]))
		p.must(err)
		if string(b) != unquote(words[2]) {
			p.fatal("content is ", strconv.Quote(string(b)))
		}
	case "!":
		if _, err := os.Lstat(p.file(words[1])); !os.IsNotExist(err) {
			p.fatal("is there: ", err)
		}
	case "closed":
		if n, err := p.c.Read(make([]byte, 1)); err == nil {
			p.fatal("read ", n, " bytes")
		}
	default:
		p.fatal("cannot read this line")
	}
}

func (p *player) file(name string) string { return filepath.Join(p.dir, unquote(name)) }

func (p *player) mode(s string, or os.FileMode) os.FileMode {
	if s == "" {
		return or
	}
	n, err := strconv.ParseUint(s, 8, 32)
	p.must(err)
	return os.FileMode(n)
}

func (p *player) must(err error) {
	p.t.Helper()
	if err != nil {
		p.fatal(err)
	}
}

func (p *player) send(text string) {
	text = variable.ReplaceAllStringFunc(text, func(name string) string { return p.vars[name] })
	b, err := encodeMsg(text, p.version)
	p.must(err)
	_, err = p.c.Write(b)
	p.must(err)
}

func (p *player) expect(text string) {
	words := splitFields(text)
	name, got, err := decodeMsg(readMsg(p.t, p.c), p.version)
	if err != nil || name != words[0] {
		p.fatal("got ", name, " ", got, " ", err)
	}
	for _, w := range words[1:] {
		k, want, _ := strings.Cut(w, "=")
		if !p.match(want, got[k]) {
			p.fatal("got ", k, "=", got[k], " in ", name, " ", got)
		}
	}
	if name == "Rversion" && got["version"] != "unknown" {
		p.version = got["version"]
	}
}

// match compares a field with what is expected of it.
func (p *player) match(want, got string) bool {
	w, g := strings.Split(want, ","), strings.Split(got, ",")
	if len(w) != len(g) {
		return false
	}
	if !strings.Contains(want, ":") {
		slices.Sort(w)
		slices.Sort(g)
	}
	for i := range w {
		if !p.matchOne(w[i], g[i]) {
			return false
		}
	}
	return true
}

func (p *player) matchOne(want, got string) bool {
	before, name, isVar := strings.Cut(want, "$")
	if !isVar {
		return unquote(want) == unquote(got)
	}
	value, ok := strings.CutPrefix(got, before)
	if !ok {
		return false
	}
	if old, ok := p.vars["$"+name]; ok {
		return value == old
	}
	p.vars["$"+name] = value
	return true
}
