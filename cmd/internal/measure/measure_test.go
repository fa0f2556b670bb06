package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestIngest takes in a small tree both ways; run compares what comes back.
func TestIngest(t *testing.T) {
	src := t.TempDir()
	for i, size := range []int{0, 1, 3000, 70_000, 1_500_000} {
		dir := filepath.Join(src, fmt.Sprint("d", i%2))
		if err := errors.Join(os.MkdirAll(dir, 0o755),
			os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, size), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, by := range []string{"proc", "9p"} {
		if err := run(context.Background(), []string{"ingest", "-dir", t.TempDir(), "-by", by, src}); err != nil {
			t.Errorf("%s: %v", by, err)
		}
	}
}

// TestMillion builds a smaller volume and visits it with the program.
func TestMillion(t *testing.T) {
	bazil := filepath.Join(t.TempDir(), "bazil")
	if out, err := exec.Command("go", "build", "-o", bazil, "bazil/cmd/bazil").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	args := []string{"million", "-dir", t.TempDir(), "-files", fmt.Sprint(perDir), "-server", bazil}
	if err := run(context.Background(), args); err != nil {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"no"}, {"ingest"}, {"ingest", "-by", "ftp", "x"}, {"million", "x"}, {"million", "-files", "7"}} {
		if err := run(context.Background(), args); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
