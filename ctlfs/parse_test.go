package ctlfs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const someKey = "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"

func TestTheTableIsSound(t *testing.T) {
	seen := make(map[string]bool)
	word := regexp.MustCompile(`^[a-z]+( [a-z]+)*$`)
	for _, v := range Verbs() {
		if seen[v.Name] || !word.MatchString(v.Name) {
			t.Errorf("%q: twice, or not lower-case words", v.Name)
		}
		seen[v.Name] = true
		if !strings.HasSuffix(v.Help, ".") || strings.Contains(v.Help, "\n") {
			t.Errorf("%s: help is one sentence on one line", v.Name)
		}
		checkForms(t, v)
		c, err := parse(scope{}, v.Example)
		if err != nil || c.Verb.Name != v.Name {
			t.Errorf("%s: its example %q is %v, %v", v.Name, v.Example, c, err)
		}
	}
}

// checkForms refuses arguments that could be taken for one another.
func checkForms(t *testing.T, v Verb) {
	t.Helper()
	names, optional, option := make(map[string]bool), 0, 0
	for i, a := range v.Args {
		if names[a.Name] {
			t.Errorf("%s: argument %s twice", v.Name, a.Name)
		}
		names[a.Name] = true
		switch a.Form {
		case Optional:
			optional++
		case Option, Flag:
			option++
		case Rest:
			if i != len(v.Args)-1 {
				t.Errorf("%s: something stands behind the rest", v.Name)
			}
		case Required:
			if option > 0 {
				t.Errorf("%s: %s stands behind an option", v.Name, a.Name)
			}
		}
	}
	if optional > 1 {
		t.Errorf("%s: optional arguments cannot be told apart", v.Name)
	}
}

// TestFlagsAreNoArguments: what stands behind arguments of which some may be
// left out.
func TestFlagsAreNoArguments(t *testing.T) {
	for line, want := range map[string]string{
		"sync white":                  "peer=white",
		"sync white dry-run":          "peer=white dry-run",
		"sync files white":            "volume=files peer=white",
		"sync files white no-wait":    "volume=files peer=white no-wait",
		"sync no-wait":                "peer=no-wait",
		"sync all":                    "",
		"sync all no-wait":            "no-wait",
		"sync all files dry-run":      "volume=files dry-run",
		"resolve v/p keep mine":       "path=v/p how=keep which=mine",
		"resolve v p from /tmp/x":     "volume=v path=p how=from which=/tmp/x",
		"volume create v keep=lazy":   "name=v keep=lazy",
		"volume connect white v as=w": "peer=white remote=v as=w",
		"volume follow v white off":   "volume=v peer=white mode=off",
	} {
		c, err := parse(scope{}, line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		var got []string
		for _, a := range c.Verb.Args {
			switch {
			case a.Form == Flag && c.Has(a.Name):
				got = append(got, a.Name)
			case c.Has(a.Name):
				got = append(got, a.Name+"="+c.Arg(a.Name))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// TestNoCommandIsAnother checks that within every ctl file each spelling
// means one verb.
func TestNoCommandIsAnother(t *testing.T) {
	for _, s := range []scope{{}, {KindPeer, "p"}, {KindVolume, "v"}, {KindExport, "e"}} {
		seen := make(map[string]string)
		for _, v := range Verbs() {
			if !s.allows(&v) {
				continue
			}
			for _, words := range s.spellings(&v) {
				w := strings.Join(words, " ")
				if seen[w] != "" {
					t.Errorf("%q in the ctl of a %s is %s and %s", w, s.word(), seen[w], v.Name)
				}
				seen[w] = v.Name
			}
		}
	}
}

func TestParse(t *testing.T) {
	root, peer, volume := scope{}, scope{KindPeer, "white"}, scope{KindVolume, "myfiles"}
	for _, c := range []struct {
		s    scope
		line string
		verb string
		args map[string][]string
	}{
		{root, "help", "help", map[string][]string{"word": {}}},
		{root, "help volume storage", "help", map[string][]string{"word": {"volume", "storage"}}},
		{root, "sync white", "sync", map[string][]string{"peer": {"white"}}},
		{root, "sync myfiles white", "sync", map[string][]string{"volume": {"myfiles"}, "peer": {"white"}}},
		{volume, "sync white", "sync", map[string][]string{"volume": {"myfiles"}, "peer": {"white"}}},
		{peer, "sync", "sync", map[string][]string{"peer": {"white"}}},
		{peer, "sync myfiles", "sync", map[string][]string{"volume": {"myfiles"}, "peer": {"white"}}},
		{root, "peer add " + someKey, "peer add", map[string][]string{"key": {someKey}}},
		{root, "peer add " + someKey + " white", "peer add", map[string][]string{"key": {someKey}, "name": {"white"}}},
		{root, "volume create a sharing=friends", "volume create", map[string][]string{"name": {"a"}, "sharing": {"friends"}}},
		{root, "volume remove a delete", "volume remove", map[string][]string{"volume": {"a"}, "delete": {""}}},
		{root, "volume remove delete", "volume remove", map[string][]string{"volume": {"delete"}}},
		{volume, "remove delete", "volume remove", map[string][]string{"volume": {"myfiles"}, "delete": {""}}},
		{volume, "volume remove", "volume remove", map[string][]string{"volume": {"myfiles"}}},
		{volume, "storage add local", "volume storage add", map[string][]string{"volume": {"myfiles"}, "backend": {"local"}}},
		{volume, "peer volume allow white", "peer volume allow", map[string][]string{"volume": {"myfiles"}, "peer": {"white"}}},
		{peer, "volume allow myfiles", "peer volume allow", map[string][]string{"volume": {"myfiles"}, "peer": {"white"}}},
		{peer, "location set a:1", "peer location set", map[string][]string{"addr": {"a:1"}, "peer": {"white"}}},
		{root, "export add vm unix!/x ro volume=a", "export add", map[string][]string{"name": {"vm"}, "dial": {"unix!/x"}, "ro": {""}, "volume": {"a"}}},
	} {
		got, err := parse(c.s, c.line)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if got.Verb.Name != c.verb || !maps.EqualFunc(got.args, c.args, slices.Equal) {
			t.Errorf("%s: %s %q, want %s %q", c.line, got.Verb.Name, got.args, c.verb, c.args)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	volume := scope{KindVolume, "myfiles"}
	for _, c := range []struct {
		s    scope
		line string
		want string
	}{
		{scope{}, "frobnicate", "frobnicate: no such command; help tells those there are"},
		{scope{}, "volume frob x", "volume frob: no such command; help volume tells those there are"},
		{scope{}, "sync", "usage: sync [VOLUME] PEER [path=PATH] [no-wait] [dry-run]"},
		{scope{}, "sync a b c", "usage: sync [VOLUME] PEER [path=PATH] [no-wait] [dry-run]"},
		{volume, "sync", "usage: sync PEER [path=PATH] [no-wait] [dry-run]"},
		{volume, "peer list", "peer list: no such command; help peer tells those there are"},
		{volume, "storage add", "usage: volume storage add BACKEND [sharing=NAME]"},
		{scope{}, "volume create sharing=x", "usage: volume create NAME [sharing=NAME] [keep=all|lazy]"},
		{scope{}, "volume create a sharing=", "usage: volume create NAME [sharing=NAME] [keep=all|lazy]"},
		{scope{}, "volume create a sharing=x sharing=y", "usage: volume create NAME [sharing=NAME] [keep=all|lazy]"},
		{scope{}, "volume create a colour=red", "usage: volume create NAME [sharing=NAME] [keep=all|lazy]"},
		{scope{}, "volume create 'a", "a ' is not closed; write '' for a quote inside of quotes"},
		{scope{}, "volume list\nvolume list", "more than one line; write one command at a time"},
		{scope{}, "volume create a\x00", "a command may have no NUL byte in it"},
		{scope{}, strings.Repeat("x", MaxLine+1), "a command may have 65536 bytes, this has 65537"},
	} {
		if _, err := parse(c.s, c.line); err == nil || err.Error() != c.want {
			t.Errorf("%.50q: %v, want %s", c.line, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range Verbs() {
		f.Add(uint8(KindWord), v.Example)
		f.Add(uint8(KindVolume), v.Example)
	}
	f.Fuzz(func(t *testing.T, kind uint8, line string) {
		s := scope{}
		if k := Kind(kind); k == KindPeer || k == KindVolume || k == KindExport {
			s = scope{k, "x"}
		}
		c, err := parse(s, line)
		if err != nil || c == nil {
			return
		}
		for _, a := range c.Verb.Args {
			if a.Form == Required && !c.Has(a.Name) {
				t.Fatalf("%q: no %s", line, a.Name)
			}
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "my files", "größe", "a'b", "...", strings.Repeat("x", MaxName), "ctlx"} {
		if err := CheckName("volume", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "ctl", "a/b", "/", "a\x00", "a\nb", strings.Repeat("x", MaxName+1)} {
		if err := CheckName("volume", name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}
