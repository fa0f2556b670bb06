package peer

import (
	"testing"

	"bazil/merge"
	"bazil/store/vol"
)

// TestMemoryOfMany: a name of many versions counts for what these take, not for
// what they took on the wire.
func TestMemoryOfMany(t *testing.T) {
	var n vol.NamedEntry
	n.Name = "n"
	for i := range merge.MaxVersions {
		dot := merge.Dot{Replica: 1, N: uint64(i + 1)}
		n.Versions = append(n.Versions, merge.Version{Dot: dot, Kind: merge.KindDir, MStamp: merge.Stamp{Dot: dot}})
	}
	head, err := appendHead(nil, &vol.DirState{Dir: 7})
	if err != nil {
		t.Fatal(err)
	}
	record, _, err := appendNames(nil, []vol.NamedEntry{n})
	if err != nil {
		t.Fatal(err)
	}
	in := &incoming{reqs: []vol.DirRequest{{Dir: 7}}, at: -1, large: make(chan struct{}, 1), ctx: t.Context()}
	if err := in.head(head[recordHead:]); err != nil {
		t.Fatal(err)
	}
	if err := in.names(record[recordHead:]); err != nil {
		t.Fatal(err)
	}
	if least := merge.MaxVersions * 96; in.size < len(record)+least {
		t.Errorf("%d bytes are counted for a record of %d and %d versions", in.size, len(record), merge.MaxVersions)
	}
}
