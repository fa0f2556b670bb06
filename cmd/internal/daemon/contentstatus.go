package daemon

import (
	"context"
	"time"

	"bazil/ctlfs"
)

const (
	countedMost = 10000 // files without content that status counts
	toldMost    = 10    // of these, files that it names
)

// keepWord is what a command's keep= would be.
func (e volumeEntry) keepWord() string {
	if e.Keep == "" {
		return "all"
	}
	return e.Keep
}

// contentStatus tells what content is to be here and is not, what is done about
// it, and, where that is nothing at the moment, why and for which files.
func (d *Daemon) contentStatus(ctx context.Context, v *openVolume, e volumeEntry) ([]ctlfs.Record, error) {
	lacking, err := d.lacking(ctx, v, e.only(), countedMost+1)
	if err != nil || len(lacking) == 0 {
		return nil, err
	}
	files := number(int64(min(len(lacking), countedMost)))
	if len(lacking) > countedMost {
		files += "+"
	}
	size := int64(0)
	for _, w := range lacking {
		size += w.Size
	}
	state, again, problem := v.keeper.state()
	if len(v.fetching) > 0 {
		state = "fetching"
	}
	r := ctlfs.Rec("content", v.name, "state", state, "files", files, "bytes", number(size), "peers", d.originNames(e))
	if state == "fetching" || problem == nil {
		return []ctlfs.Record{r}, nil
	}
	r = append(r, ctlfs.Rec("retry", stamp(again.Truncate(time.Second)), "error", problem.Error())...)
	records := []ctlfs.Record{r}
	for _, w := range lacking[:min(len(lacking), toldMost)] {
		records = append(records, ctlfs.Rec("waiting", v.name, "path", w.Path, "bytes", number(w.Size)))
	}
	return records, nil
}

// originNames are the peers that are asked for the volume's content.
func (d *Daemon) originNames(e volumeEntry) string {
	var names []string
	for _, key := range e.origins() {
		if p, err := d.peer(key); err == nil {
			names = append(names, p.label())
		}
	}
	return ctlfs.Join(names)
}
