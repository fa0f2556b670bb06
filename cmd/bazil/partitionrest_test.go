package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// gossip lets every device hear of all others, twice, in a ring. One that is
// connecting since the network was cut goes on failing for a while.
func (w *islands) gossip() {
	for range 2 {
		for n, i := range w.all {
			must(w.t, i.eventually(func() error {
				out, err := i.try("volume", "sync", "files", fmt.Sprint("island", (n+2)%3))
				if err != nil {
					w.t.Logf("island %d: %s", i.number, out)
				}
				return err
			}))
		}
	}
}

// state is what a device has: for each path what it is, and for files the
// contents of all versions.
type state map[string]string

// rest heals everything and looks at what has become of it.
func (w *islands) rest() {
	w.wire.set(0, 0, -1)
	for _, i := range w.all { // a mount that lost its server tells of it once, by an error
		must(w.t, i.eventually(func() error { return exec.Command("sync", "-f", i.mnt).Run() }))
	}
	w.gossip()
	want := w.all[0].state()
	have := map[string]bool{}
	for _, s := range want {
		for _, token := range strings.Fields(s) {
			have[token] = true
		}
	}
	for _, i := range w.all[1:] {
		if got := i.state(); !maps.Equal(got, want) {
			w.t.Errorf("island %d has\n%v\nisland 0\n%v", i.number, got.minus(want), want.minus(got))
		}
	}
	lost, back, excused := 0, 0, 0
	for _, token := range slices.Sorted(maps.Keys(w.acked)) {
		switch {
		case have[token] || w.over[token]:
		case w.excused(token):
			excused++
			w.t.Logf("%s was perhaps removed by one whose server was killed; -partition.trace keeps what is needed to see that", token)
		default:
			w.t.Errorf("%s is lost:\n%s\nat rest:\n%s", token, w.story(token), want.of(w.names(token)))
			lost++
		}
	}
	for token := range w.gone {
		if have[token] && !w.moves {
			w.t.Errorf("%s is back:\n%s", token, w.story(token))
			back++
		}
	}
	conflicts := 0
	for path, s := range want {
		if strings.Contains(s, "conflict") {
			conflicts++
		}
		all := strings.HasPrefix(path, "same-") && !strings.Contains(s, emptyFile) // as one is who was killed before it wrote
		if strings.Contains(s, "conflict") && (all || path == "mode") {
			w.t.Errorf("%s is in conflict though all wrote the same: %s", path, s)
		}
		if strings.Contains(path, ".conflict-") && !w.crowded() {
			w.t.Errorf("%s litters the tree", path)
		}
	}
	w.t.Logf("%v done, %d failed, %d sights compared, %d servers killed, %d cuts; %d contents acknowledged, %d replaced; %d removals slipped, %d contents for that; %d paths, %d in conflict; moves %v",
		w.effects, w.failed, w.sights, w.kills, w.cuts, len(w.acked), len(w.gone), len(w.slips)+excused, excused, len(want), conflicts, w.moves)
}

// crowded says whether a server has met with too many versions of a name, whose
// oldest then get names beside it: renames gather hundreds where nobody resolves.
func (w *islands) crowded() bool {
	return slices.ContainsFunc(w.all, func(i *island) bool {
		return strings.Contains(i.log.String(), "a name had too many versions")
	})
}

// story is what was done to the names that had a content, to the directories
// that these are in, and to the servers.
func (w *islands) story(token string) string {
	names := map[string]bool{"-": true}
	var out []string
	for pass := range 2 {
		for _, line := range w.trace {
			words := strings.Fields(line)[4:]
			for n := range words {
				words[n] = strings.Trim(words[n], ",:")
			}
			if strings.Contains(line, token) {
				for at := words[0]; at != "."; at = filepath.Dir(at) {
					names[at] = true
				}
			}
			if pass == 1 && slices.ContainsFunc(words, func(word string) bool { return names[word] }) {
				out = append(out, line)
			}
		}
	}
	return strings.Join(out, "\n")
}

// emptyFile is the summary of a file without content.
const emptyFile = `""`

// eventually tries again while a mount finds its server.
func (i *island) eventually(f func() error) (err error) {
	for range 100 {
		if err = f(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func (s state) minus(o state) (out []string) {
	for path, what := range s {
		if o[path] != what {
			out = append(out, path+": "+what)
		}
	}
	slices.Sort(out)
	return out
}

// of is what some names are, a line each.
func (s state) of(names map[string]bool) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&out, "\t%s: %s\n", name, s[name])
	}
	return out.String()
}

func (i *island) state() state {
	w, s := i.w, state{}
	must(w.t, filepath.WalkDir(i.mnt, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == i.mnt {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(i.mnt, path)
		s[rel] = fmt.Sprintf("%v", info.Mode())
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("island %d: %w", i.number, err)
			}
			s[rel] += " " + summary(b)
		}
		return nil
	}))
	i.siblings(s)
	return s
}

// summary is the token of a content, if it is whole.
func summary(b []byte) string {
	if len(b) < tokenLen {
		return fmt.Sprintf("%q", b)
	}
	if token := b[:tokenLen]; bytes.Equal(b, bytes.Repeat(token, len(b)/tokenLen)) {
		return string(token)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// siblings puts all versions of the names in conflict in the place of what the
// tree shows, which may differ from device to device.
func (i *island) siblings(s state) {
	w := i.w
	var all []conflict
	must(w.t, json.Unmarshal([]byte(i.run("conflicts", "--json")), &all))
	if len(all) == 0 {
		return
	}
	tree := filepath.Join(w.t.TempDir(), "tree")
	must(w.t, os.MkdirAll(tree, 0o755))
	i.run("mount", "--fuse", tree)
	defer i.run("unmount", tree)
	for _, c := range all {
		var contents []string
		for _, v := range c.Siblings {
			b, err := os.ReadFile(filepath.Join(tree, v.File))
			if err != nil {
				w.t.Errorf("island %d: %s: %v", i.number, v.File, err)
			}
			contents = append(contents, summary(b))
		}
		slices.Sort(contents)
		if len(slices.Compact(slices.Clone(contents))) < len(contents) {
			w.t.Errorf("island %d: %s is in conflict though two versions are equal: %s", i.number, c.Path, contents)
		}
		s[c.Path] = "conflict " + strings.Join(contents, " ")
	}
}
