package daemon

import "bazil/ctlfs"

// event tells the log files of something that happened; pairs are names and
// values, of which empty ones are left out.
func (d *Daemon) event(kind string, pairs ...string) {
	d.events.Add(ctlfs.Rec(append([]string{"event", kind}, pairs...)...))
}
