package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"bazil/ctlfs"
)

func testParser(t *testing.T) *kong.Kong {
	t.Helper()
	parser, err := newParser(new(CLI))
	must(t, err)
	return parser
}

// TestEveryCommandOfCtlIsACommandHere holds the command line to ctlfs's table.
func TestEveryCommandOfCtlIsACommandHere(t *testing.T) {
	have := make(map[string]*kong.Node)
	for _, n := range testParser(t).Model.Leaves(false) {
		have[words(n)] = n
		if n.Help == "" {
			t.Errorf("bazil %s has no help", words(n))
		}
	}
	// What is a flag, or a command that stands for the one above it.
	here := map[string]string{"sync all": "sync", "conflicts": "conflicts list"}
	for _, v := range ctlfs.Verbs() {
		name := v.Name
		if here[name] != "" {
			name = here[name]
		}
		if have[name] == nil {
			t.Errorf("ctl knows %q, the command line does not", v.Name)
		}
	}
}

func TestLongFlags(t *testing.T) {
	model := testParser(t).Model
	for in, want := range map[string]string{
		"-data-dir=x status":             "--data-dir=x status",
		"--data-dir=x status":            "--data-dir=x status",
		"-data-dir x status":             "--data-dir x status",
		"volume create -sharing=f v":     "volume create --sharing=f v",
		"volume create -sharing f v":     "volume create --sharing f v",
		"mount -o allow_other -v d":      "mount -o allow_other -v d",
		"mount -fuse d":                  "mount --fuse d",
		"volume create -nonesuch=f v":    "volume create -nonesuch=f v",
		"volume create -- -sharing=name": "volume create -- -sharing=name",
		"-help":                          "--help",
		"-":                              "-",
	} {
		if got := longFlags(model, strings.Fields(in)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s becomes %q, want %s", in, got, want)
		}
	}
}

func TestMainIsShort(t *testing.T) {
	text, err := os.ReadFile("main.go")
	must(t, err)
	if n := strings.Count(string(text), "\n"); n >= 30 {
		t.Errorf("main.go has %d lines", n)
	}
}

func TestCommandShowsTheDataDirectory(t *testing.T) {
	t.Setenv("BAZIL_DATA_DIR", "")
	if got := (&Globals{DataDir: "a dir"}).command("status"); got != `"bazil --data-dir='a dir' status"` {
		t.Errorf("got %s", got)
	}
	t.Setenv("BAZIL_DATA_DIR", "x")
	if got := (&Globals{DataDir: "x"}).command("status"); got != `"bazil status"` {
		t.Errorf("got %s", got)
	}
}

func TestDataDir(t *testing.T) {
	t.Setenv("HOME", "/home/glenda")
	for _, c := range [][3]string{
		{"", "", "/home/glenda/.local/share/bazil"},
		{"", "/data", "/data/bazil"},
		{"", "relative is void", "/home/glenda/.local/share/bazil"},
		{"/x/../y", "/data", "/y"},
	} {
		t.Setenv("XDG_DATA_HOME", c[1])
		if got, err := (&Globals{DataDir: c[0]}).dataDir(); got != c[2] || err != nil {
			t.Errorf("%q: %s, %v", c, got, err)
		}
	}
}
