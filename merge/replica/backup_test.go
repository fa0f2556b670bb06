package replica

import "os"

// copyFile returns what a backup of the volume's file would hold.
func (d *device) copyFile() []byte {
	d.tb.Helper()
	check(d.tb, d.v.Close())
	b, err := os.ReadFile(d.path)
	check(d.tb, err)
	d.open()
	return b
}

// restore puts a backup in place of the volume's file.
func (d *device) restore(b []byte) {
	d.tb.Helper()
	check(d.tb, d.v.Close())
	check(d.tb, os.WriteFile(d.path, b, 0o600))
	d.open()
}
