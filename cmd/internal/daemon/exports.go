package daemon

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"bazil/ctlfs"
	"bazil/p9srv/export"
	"bazil/store"
)

// ownExport is the name of the data directory's own socket among the exports.
const ownExport = "own"

// exportOptions are the options of export add, in the order of the table.
var exportOptions = []string{"volume", "owner", "conns", "ro", "noctl", "insecure"}

func (d *Daemon) exportAdd(ctx context.Context, c *ctlfs.Call) error {
	spec, err := exportSpec(c)
	if err != nil {
		return err
	}
	if err := d.exportable(spec); err != nil {
		return err
	}
	if err := d.exports.Add(spec); errors.Is(err, export.ErrExists) {
		return ctlfs.Errorf(syscall.EEXIST, "there is an export %q already", spec.Name)
	} else if err != nil {
		return err
	}
	err = d.update(func(tx *store.Tx) error {
		return tx.Put(exportTable, spec.Name, exportRecord{Dial: spec.Dial, Words: spec.Words()})
	})
	if err != nil {
		return errors.Join(err, d.exports.Remove(ctx, spec.Name))
	}
	d.event("export.add", "export", spec.Name, "dial", spec.Dial)
	return nil
}

// exportSpec reads an export add command.
func exportSpec(c *ctlfs.Call) (export.Spec, error) {
	if err := ctlfs.CheckName("export", c.Arg("name")); err != nil {
		return export.Spec{}, err
	}
	var words []string
	for _, o := range exportOptions {
		if v := c.Arg(o); v != "" {
			words = append(words, o+"="+v)
		} else if c.Has(o) {
			words = append(words, o)
		}
	}
	spec, err := export.ParseSpec(c.Arg("name"), c.Arg("dial"), words)
	if err != nil {
		return spec, ctlfs.Errorf(syscall.EINVAL, "%v", err)
	}
	return spec, nil
}

// exportable checks that the volume is there, and that the name is not that
// of an export which is configured but could not be started.
func (d *Daemon) exportable(spec export.Spec) error {
	return d.view(func(tx *store.Tx) error {
		if name, _, _ := strings.Cut(spec.Volume, "/"); name != "" {
			if _, err := findVolume(tx, name); err != nil {
				return err
			}
		}
		err := tx.Get(exportTable, spec.Name, new(exportRecord))
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err == nil:
			return ctlfs.Errorf(syscall.EEXIST, "there is an export %q already", spec.Name)
		}
		return err
	})
}

func (d *Daemon) exportRemove(ctx context.Context, c *ctlfs.Call) error {
	name := c.Arg("export")
	if name == ownExport {
		return ctlfs.Errorf(syscall.EBUSY, "export %q is the server's own: it ends with the server", name)
	}
	err := d.update(func(tx *store.Tx) error {
		if err := tx.Get(exportTable, name, new(exportRecord)); err != nil {
			return err
		}
		return tx.Delete(exportTable, name)
	})
	if errors.Is(err, store.ErrNotFound) {
		return noExport(name)
	}
	if err != nil {
		return err
	}
	if err := d.exports.Remove(ctx, name); err != nil && !errors.Is(err, export.ErrNotFound) {
		return err
	}
	d.event("export.remove", "export", name)
	return nil
}

func noExport(name string) error {
	return ctlfs.Errorf(syscall.ENOENT, "no export %q: export list tells those there are", name)
}

func (d *Daemon) exportList(ctx context.Context, c *ctlfs.Call) error {
	records, err := d.exportStatus(ctx)
	c.Records(records)
	return err
}

// exportStatus tells of the exports that run and of those that could not.
func (d *Daemon) exportStatus(context.Context) ([]ctlfs.Record, error) {
	var records []ctlfs.Record
	running := make(map[string]bool)
	for _, s := range d.exports.List() {
		running[s.Spec.Name] = true
		records = append(records, ctlfs.Rec("export", s.Spec.Name, "dial", s.Spec.Dial, "addr", s.Addr.String(),
			"conns", strconv.Itoa(s.Conns), "options", strings.Join(s.Spec.Words(), " ")))
	}
	err := d.view(func(tx *store.Tx) error {
		all, err := listExports(tx)
		for _, e := range all {
			if !running[e.name] {
				why, _ := d.failedExports.Load(e.name)
				text, _ := why.(string)
				records = append(records, ctlfs.Rec("export", e.name, "dial", e.Dial, "state", "failed", "error", text))
			}
		}
		return err
	})
	return records, err
}

// startExports starts what is configured. What cannot be started now is told
// and stays configured.
func (d *Daemon) startExports() error {
	var all []exportEntry
	err := d.view(func(tx *store.Tx) (err error) {
		all, err = listExports(tx)
		return err
	})
	for _, e := range all {
		spec, err := export.ParseSpec(e.name, e.Dial, e.Words)
		if err == nil {
			err = d.exports.Add(spec)
		}
		if err != nil {
			d.failedExports.Store(e.name, err.Error())
			d.log.Warn("export not started", "export", e.name, "err", err)
			d.event("export.failed", "export", e.name, "error", err.Error())
		}
	}
	return err
}

// exportObjects is the exports as ctl shows them.
type exportObjects struct{ d *Daemon }

// Names lists the exports.
func (o exportObjects) Names(ctx context.Context) ([]string, error) {
	records, err := o.d.exportStatus(ctx)
	var names []string
	for _, r := range records {
		names = append(names, r.Get("export"))
	}
	return names, err
}

// Get finds an export.
func (o exportObjects) Get(ctx context.Context, name string) (ctlfs.Object, error) {
	e := exportObject{o.d, name}
	_, err := e.Status(ctx)
	return e, err
}

// exportObject is one export.
type exportObject struct {
	d    *Daemon
	name string
}

// Name is the export's name.
func (o exportObject) Name() string { return o.name }

// Status is one record.
func (o exportObject) Status(ctx context.Context) ([]ctlfs.Record, error) {
	records, err := o.d.exportStatus(ctx)
	for _, r := range records {
		if r.Get("export") == o.name {
			return []ctlfs.Record{r}, err
		}
	}
	return nil, errors.Join(err, noExport(o.name))
}

// Config is the command that opens it, which needs its name: a comment here.
func (o exportObject) Config(context.Context) ([][]string, error) {
	var e exportEntry
	err := o.d.view(func(tx *store.Tx) error {
		e.name = o.name
		return tx.Get(exportTable, o.name, &e.exportRecord)
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return [][]string{{"# " + ctlfs.Join(e.adding().whole())}}, err
}
