package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSyncOnePath: what is at a path comes with its content, and the rest with
// the next sync, after which there is nothing left to tell.
func TestSyncOnePath(t *testing.T) {
	needFUSE(t)
	white, black := newDevice(t), newDevice(t)
	befriend(t, white, black, "v", white.addr, noise(3, sharingKeyLen))
	w, b := white.mountAgain(t, "v", "--fuse"), black.mountAgain(t, "v", "--fuse")
	texts := map[string]string{"docs/a": "a", "docs/deep/b": string(noise(5, 100_000)), "docs/other/c": "c", "music/d": string(noise(6, 100_000))}
	write := func(text string) {
		t.Helper()
		for name, s := range texts {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(w, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(w, name), []byte(s+text), 0o644))
		}
	}
	want := func(here bool, text string, names ...string) {
		t.Helper()
		for _, name := range names {
			got, err := os.ReadFile(filepath.Join(b, name))
			if is := err == nil && string(got) == texts[name]+text; is != here {
				t.Errorf("%s: %d bytes, %v; here as it is now: %v, want %v", name, len(got), err, is, here)
			}
		}
	}
	write("")
	black.run(t, "volume", "sync", "--path=docs/deep", "v", "white")
	want(true, "", "docs/deep/b", "docs/a") // on the way
	want(false, "", "docs/other/c", "music/d")
	black.run(t, "volume", "sync", "v", "white")
	want(true, "", "docs/deep/b", "docs/a", "docs/other/c", "music/d")
	write(" again")
	if got := black.run(t, "sync", "--dry-run", "--path=docs/deep", "v", "white"); got != "change v/docs/deep/b" {
		t.Errorf("a dry run told %q", got)
	}
	black.run(t, "sync", "--path=docs/deep/b", "v", "white")
	want(true, " again", "docs/deep/b")
	want(false, " again", "docs/other/c", "music/d")
	black.run(t, "sync", "v", "white")
	want(true, " again", "docs/deep/b", "docs/a", "docs/other/c", "music/d")
	black.run(t, "sync", "v", "white")
	if got := black.ctl(t, "status"); !strings.Contains(got, " changed=0 ") {
		t.Errorf("a third sync found something: %s", got)
	}
	for _, c := range [][]string{{"sync", "--path=docs", "white"}, {"sync", "--path=../x", "v", "white"}} {
		if code, out := black.fails(c...); code != 1 || !strings.Contains(out, "is not a path inside of a volume") {
			t.Errorf("%q: exit status %d, %s", c, code, out)
		}
	}
}
