package p9srv_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv"
	"bazil/p9srv/p9test"
)

// TestTraces plays the conversations in testdata against a server of a fresh
// folder.
func TestTraces(t *testing.T) {
	p9test.PlayAll(t, "testdata", func(t *testing.T) (string, p9test.Folder) {
		tree := tempTree(t)
		tree.Flags = true
		return listen(t, &p9srv.Server{Tree: tree}), osFolder(tree.Dir)
	})
}

// osFolder is a folder of the operating system.
type osFolder string

func (f osFolder) Has(string) bool { return true }

func (f osFolder) at(name string) string { return filepath.Join(string(f), name) }

func (f osFolder) Mkdir(name string, mode fs.FileMode) error {
	if err := os.Mkdir(f.at(name), 0o755); err != nil {
		return err
	}
	return syscall.Chmod(f.at(name), uint32(mode))
}

func (f osFolder) WriteFile(name, text string, mode fs.FileMode) error {
	if err := os.WriteFile(f.at(name), []byte(text), 0o600); err != nil {
		return err
	}
	return syscall.Chmod(f.at(name), uint32(mode))
}

func (f osFolder) Symlink(target, name string) error { return os.Symlink(target, f.at(name)) }

func (f osFolder) ReadFile(name string) (string, error) {
	if _, err := os.Lstat(f.at(name)); err != nil {
		return "", err
	}
	b, err := os.ReadFile(f.at(name))
	return string(b), err
}

// TestTracesHoldEveryMessage checks that every message of every dialect is done
// in some conversation and refused in some.
func TestTracesHoldEveryMessage(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	check(t, err)
	spoken, err := p9test.Spoken(files)
	check(t, err)
	for dialect, messages := range map[string]string{
		"9P2000":   "version auth attach flush walk open create read write clunk remove stat wstat",
		"9P2000.u": "version auth attach flush walk open create read write clunk remove stat wstat",
		"9P2000.L": "version auth attach flush walk read write clunk remove statfs lopen lcreate symlink mknod rename readlink " +
			"getattr setattr xattrwalk xattrcreate readdir fsync lock getlock link mkdir renameat unlinkat",
	} {
		for _, m := range strings.Fields(messages) {
			for _, how := range []string{"done", "refused"} {
				never := m == "auth" && how == "done" || m == "flush" && how == "refused"
				if line := dialect + " T" + m + " " + how; !never && !slices.Contains(spoken, line) {
					t.Errorf("no conversation has %s", line)
				}
			}
		}
	}
}
