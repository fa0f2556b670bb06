package layout

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// may says for every package which others of the module its code imports,
// and why not more. A package that is not named here does not belong.
var may = map[string]struct {
	imports []string
	why     string
}{
	"merge":                {nil, "the merge is pure: no I/O, no clock, nothing of ours"},
	"noiseconn":            {nil, "a channel between two keys knows no 9P and no files"},
	"noiseconn/noisetest":  {nil, "what tests of connections between devices share"},
	"p9srv":                {nil, "the 9P server knows none of our files"},
	"store":                {nil, "chunks know no names of files and no versions"},
	"store/faultfs":        {nil, "a disk that crashes, for tests of what stands on one"},
	"p9srv/p9test":         {[]string{"p9srv"}, "what tests of 9P servers and clients share"},
	"p9srv/client":         {[]string{"p9srv"}, "the client shares the server's words only"},
	"store/vol":            {[]string{"merge", "store"}, "a volume knows no 9P and no network"},
	"merge/replica":        {[]string{"merge", "store", "store/vol"}, "a pull asks through its own interface, whatever the transport"},
	"p9srv/export":         {[]string{"merge", "p9srv", "store", "store/vol"}, "an export adapts volumes to 9P and knows no peers"},
	"p9srv/fusemount":      {[]string{"p9srv", "p9srv/client"}, "the FUSE bridge sees a volume as any 9P client does"},
	"noiseconn/peer":       {[]string{"merge", "noiseconn", "p9srv", "p9srv/client", "store", "store/vol"}, "what devices show each other; pulls are merge/replica's"},
	"ctlfs":                {[]string{"p9srv"}, "the ctl tree is grammar and files; what its verbs do is handed in"},
	"cmd/internal/daemon":  {[]string{"ctlfs", "merge", "merge/replica", "noiseconn", "noiseconn/peer", "p9srv", "p9srv/client", "p9srv/export", "store", "store/vol"}, "the daemon wires everything but the command line and mounts"},
	"cmd/internal/layout":  {nil, "tests only"},
	"cmd/internal/measure": {[]string{"cmd/internal/daemon", "merge", "p9srv", "p9srv/client", "p9srv/export", "store", "store/vol"}, "a program that measures the daemon and what is below it"},
	"cmd/bazil":            {[]string{"cmd/internal/daemon", "ctlfs", "noiseconn", "p9srv", "p9srv/client", "p9srv/export", "p9srv/fusemount", "store", "store/vol"}, "the command line starts the daemon and speaks 9P to it"},
}

// top is all that may stand in the repository's top folder beside dot-files.
var top = []string{"README.md", "cmd", "ctlfs", "go.mod", "go.sum", "merge", "noiseconn", "p9srv", "store"}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range packages(t) {
		rule, ok := may[p.name]
		if !ok {
			t.Errorf("package %s: not in the layout; add it there with its place in the order of imports", p.name)
			continue
		}
		for _, im := range p.imports {
			if !slices.Contains(rule.imports, im) {
				t.Errorf("%s imports %s: %s", p.name, im, rule.why)
			}
		}
	}
}

func TestTheRulesHaveNoCycle(t *testing.T) {
	var visit func(name string, above []string)
	visit = func(name string, above []string) {
		if slices.Contains(above, name) {
			t.Fatalf("cycle: %s", strings.Join(append(above, name), " imports "))
		}
		for _, im := range may[name].imports {
			visit(im, append(slices.Clone(above), name))
		}
	}
	for name := range may {
		visit(name, nil)
	}
}

func TestTopFolder(t *testing.T) {
	files, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if n := f.Name(); !strings.HasPrefix(n, ".") && !slices.Contains(top, n) && !ignored(t, n) {
			t.Errorf("%s does not belong in the top folder, which holds %s", n, strings.Join(top, " "))
		}
	}
}

type pkg struct {
	name    string
	imports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir, cmd.Stderr = root(t), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var l struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		p := pkg{name: strings.TrimPrefix(l.ImportPath, "bazil/")}
		for _, im := range l.Imports {
			if ours, ok := strings.CutPrefix(im, "bazil/"); ok {
				p.imports = append(p.imports, ours)
			}
		}
		all = append(all, p)
	}
	return all
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func ignored(t *testing.T, name string) bool {
	cmd := exec.Command("git", "check-ignore", "-q", name)
	cmd.Dir = root(t)
	return cmd.Run() == nil
}
