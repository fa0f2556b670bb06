package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Reindex makes the index of a data directory that no server has open anew
// from its segments. Progress, which may be nil, is told what is being done.
func Reindex(ctx context.Context, dir string, o Options, progress func(step string)) error {
	if err := reindex(ctx, dir, o, progress); err != nil {
		return fmt.Errorf("reindex data directory %s: %w", dir, err)
	}
	return nil
}

func reindex(ctx context.Context, dir string, o Options, progress func(step string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	if err := checkFormat(dir); err != nil {
		return err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	progress("removing the old index")
	if err := os.RemoveAll(filepath.Join(dir, indexDir)); err != nil {
		return err
	}
	progress("reading segments")
	c, err := openChunks(osFiles{}, dir, o)
	if err != nil {
		return err
	}
	progress("writing the new index")
	c.sealAll()
	return errors.Join(c.mergeTables(ctx), c.close())
}
