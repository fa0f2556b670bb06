package p9srv

import (
	"testing"
)

// FuzzStat decodes a stat and encodes it again.
func FuzzStat(f *testing.F) {
	s := stat{mode: dmDir | 0755, name: "name", uid: "u", gid: "g", muid: "m", extension: "b 1 2", numUID: 5}
	f.Add(s.append(nil, dialectU), true)
	f.Add(s.append(nil, dialectPlain), false)
	f.Fuzz(func(t *testing.T, b []byte, u bool) {
		d := dialectPlain
		if u {
			d = dialectU
		}
		in := NewDecoder(b)
		s, ok := decodeStat(&in, d)
		if !ok {
			return
		}
		if again := s.append(nil, d); string(again) != string(b[:len(b)-in.Len()]) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
