package ctlfs

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"bazil/p9srv"
)

// torn is a volume with conflicts.
type torn struct{ object }

func (torn) versions() map[string][]ConflictVersion {
	version := func(file, content string) ConflictVersion {
		c := ConflictVersion{File: file, Size: int64(len(content))}
		c.Info = func(context.Context) (Record, error) { return Rec("file", file), nil }
		if content != "" {
			c.Open = func(context.Context) (p9srv.File, error) {
				return &openText{render: func(context.Context) ([]byte, error) { return []byte(content), nil }}, nil
			}
		}
		return c
	}
	return map[string][]ConflictVersion{
		"docs/plan": {version("plan.a.1", "one"), version("plan.b.2", "two")},
		"docs":      {version("docs.a.1", ""), version("docs.b.2", "a file")},
		"a file":    {version("a file.a.1", "x")},
	}
}

func (o torn) Conflict(_ context.Context, path string) ([]ConflictVersion, error) {
	return o.versions()[path], nil
}

func (o torn) InConflict(_ context.Context, path string) (bool, error) {
	return len(o.versions()[path]) > 0, nil
}

func (torn) ConflictsIn(_ context.Context, path string) ([]string, error) {
	return map[string][]string{"": {"a file", "docs"}, "docs": {"plan"}}[path], nil
}

type tornOnly struct{}

func (tornOnly) Names(context.Context) ([]string, error)            { return []string{"v"}, nil }
func (tornOnly) Get(_ context.Context, name string) (Object, error) { return torn{object(name)}, nil }

func TestConflictsAreATree(t *testing.T) {
	d := &device{}
	root := New(Options{System: d, Sharing: d, Log: &d.log, Peers: objects{}, Volumes: tornOnly{}, Exports: objects{}}).
		Root(p9srv.User{}, nil)
	for path, want := range map[string]string{
		"":         "a file docs",
		"/docs":    "info plan docs.b.2",
		"/a file":  "info a file.a.1",
		"/docs/..": "a file docs",
	} {
		if got := strings.Join(list(t, root, "volumes/v/conflicts"+path), " "); got != want {
			t.Errorf("conflicts%s has %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"docs/info":          "file=docs.a.1\nfile=docs.b.2\n",
		"docs/plan/info":     "file=plan.a.1\nfile=plan.b.2\n",
		"docs/plan/plan.b.2": "two",
	} {
		if got := read(t, open(t, root, "volumes/v/conflicts/"+path, syscall.O_RDONLY), 0); got != want {
			t.Errorf("%s reads as %q, want %q", path, got, want)
		}
	}
	f := walk(t, root, "volumes/v/conflicts/docs/docs.b.2")
	if a, err := f.Attr(t.Context()); a.Size != 6 || err != nil {
		t.Errorf("size %d, %v", a.Size, err)
	}
	if _, err := f.Open(t.Context(), syscall.O_RDWR); !errors.Is(err, syscall.EACCES) {
		t.Errorf("open for writing: %v", err)
	}
}
