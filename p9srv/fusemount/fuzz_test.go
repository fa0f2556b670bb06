package fusemount

import (
	"bytes"
	"testing"
)

func FuzzJudgeSignals(f *testing.F) {
	f.Add([]byte("Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\tffffffffffffffff\n"))
	f.Add([]byte("SigPnd:"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p := judgeSignals(text); (p.any || p.fatal) && !p.some {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzMountType(f *testing.F) {
	f.Add([]byte("91 90 0:51 / /mnt/a\\040b rw,nosuid master:2 - fuse.bazil bazil rw\n"), "/mnt/a b")
	f.Add([]byte(" - \n"), "")
	f.Fuzz(func(t *testing.T, table []byte, dir string) {
		findMount(bytes.NewReader(table), dir)
	})
}
