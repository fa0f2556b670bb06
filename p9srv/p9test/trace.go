package p9test

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Folder is the served tree as a conversation makes and checks its files, by
// a way of its own.
type Folder interface {
	Mkdir(name string, mode fs.FileMode) error
	WriteFile(name, text string, mode fs.FileMode) error
	Symlink(target, name string) error
	ReadFile(name string) (string, error) // fs.ErrNotExist
	// Has tells whether the tree can do what not every one can: "links" are
	// hard ones, in a "stream" each read waits for a line.
	Has(ability string) bool
}

// PlayAll plays the conversations in the files *.txt of a folder, each on what
// serve sets up for it: where the server is reached, and its tree.
func PlayAll(t *testing.T, dir string, serve func(t *testing.T) (socket string, tree Folder)) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations: ", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			socket, tree := serve(t)
			Play(t, f, socket, tree)
		})
	}
}

// Play plays a conversation. Its file has, line by line:
//
//	# comment
//	needs ABILITY              ends here where the tree does not have it
//	dir NAME [MODE]            makes a folder
//	file NAME [MODE [TEXT]]    makes a file
//	link NAME TARGET           makes a symlink
//	connect NAME               goes on with another connection of that name
//	> MESSAGE                  sends a message
//	< MESSAGE                  expects a reply with these fields; others may be anything
//	                           $x stands for what it stood for before, or anything; comma lists of
//	                           names are compared whatever their order
//	? FILE TEXT                expects a file's content
//	! FILE                     expects that there is no such file
//	closed                     expects the server to close the connection
//
// Tversion sets the dialect that later messages are written in.
func Play(t *testing.T, file, socket string, tree Folder) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &player{t: t, tree: tree, path: socket, conns: make(map[string]net.Conn), vars: make(map[string]string), versions: make(map[string]string)}
	p.connect("main")
	in := bufio.NewScanner(f)
	for n := 1; in.Scan() && !p.over; n++ {
		p.where = fmt.Sprintf("%s:%d", file, n)
		p.line(strings.TrimSpace(in.Text()))
	}
	p.must(in.Err())
}

var variable = regexp.MustCompile(`\$[a-z]+`)

type player struct {
	t        *testing.T
	tree     Folder
	path     string
	conns    map[string]net.Conn
	c        net.Conn
	name     string // of c
	version  string // of c
	versions map[string]string
	vars     map[string]string
	where    string
	over     bool
}

func (p *player) connect(name string) {
	if p.conns[name] == nil {
		c, err := net.Dial("unix", p.path)
		p.must(err)
		p.t.Cleanup(func() { c.Close() })
		p.conns[name] = c
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
	case ">":
		p.send(line[2:])
	case "<":
		p.expect(line[2:])
	case "connect":
		p.connect(words[1])
	case "closed":
		if n, err := p.c.Read(make([]byte, 1)); err == nil {
			p.fatal("read ", n, " bytes")
		}
	case "needs":
		p.over = !p.tree.Has(words[1])
	default:
		p.folder(words)
	}
}

// folder does a line that makes or checks files.
func (p *player) folder(words []string) {
	name := unquote(words[1])
	switch words[0] {
	case "dir":
		p.must(p.tree.Mkdir(name, p.mode(words[2], 0o755)))
	case "file":
		p.must(p.tree.WriteFile(name, unquote(words[3]), p.mode(words[2], 0o644)))
	case "link":
		p.must(p.tree.Symlink(unquote(words[2]), name))
	case "?":
		text, err := p.tree.ReadFile(name)
		p.must(err)
		if text != unquote(words[2]) {
			p.fatal("content is ", strconv.Quote(text))
		}
	case "!":
		if _, err := p.tree.ReadFile(name); !os.IsNotExist(err) {
			p.fatal("is there: ", err)
		}
	default:
		p.fatal("cannot read this line")
	}
}

func (p *player) mode(s string, or fs.FileMode) fs.FileMode {
	if s == "" {
		return or
	}
	n, err := strconv.ParseUint(s, 8, 32)
	p.must(err)
	return fs.FileMode(n)
}

func (p *player) must(err error) {
	p.t.Helper()
	if err != nil {
		p.fatal(err)
	}
}

func (p *player) send(text string) {
	text = variable.ReplaceAllStringFunc(text, func(name string) string { return p.vars[name] })
	b, err := Encode(text, p.version)
	p.must(err)
	_, err = p.c.Write(b)
	p.must(err)
}

func (p *player) expect(text string) {
	words := splitFields(text)
	name, got, err := Decode(Read(p.t, p.c), p.version)
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
