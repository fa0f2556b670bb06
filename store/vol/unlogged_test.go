package vol

import (
	"slices"
	"testing"
)

// TestUnloggedAfterFailure: what did not get into a group is not taken for
// durable by the next fsync.
func TestUnloggedAfterFailure(t *testing.T) {
	c := &content{}
	c.older.write(3, 5)
	c.frozenDurable(false)
	if c.older.touched || len(c.fresh.ranges) != 1 || c.fresh.ranges[0] != (fileRun{3, 5}) {
		t.Errorf("what a group did not take: %+v, %+v", c.older, c.fresh)
	}
}

// TestUnloggedIsStored: what a group on its way has taken from memory is not in
// the log's reach: the fsync waits for the group.
func TestUnloggedIsStored(t *testing.T) {
	d := newDisk(t)
	_, h, _ := loggedVolume(t, d)
	must[int](t)(h.WriteAt(ctx, []byte("on its way"), 7000))
	c := h.f.c
	c.freezeAll()
	must[Body](t)(c.Flush(ctx))
	if ch, none, is := c.take(true); is || none {
		t.Fatalf("%v, %q", none, ch.data)
	}
	must[int](t)(h.WriteAt(ctx, []byte("later"), 9000))
	if ch, none, is := c.take(true); is || none {
		t.Fatalf("%v, %q", none, ch.data)
	}
	c.frozenDurable(true)
	if ch, _, is := c.take(true); !is || string(ch.data) != "later" {
		t.Fatalf("%v, %q", is, ch.data)
	}
}

// TestUnloggedCuts: what was cut off is not written by the record.
func TestUnloggedCuts(t *testing.T) {
	var u, later unlogged
	u.write(0, 10)
	u.write(20, 30)
	u.truncate(25)
	later.truncate(5)
	later.write(7, 9)
	both := u.with(later)
	if !slices.Equal(u.ranges, []fileRun{{0, 10}, {20, 25}}) || u.limit != 25 {
		t.Errorf("cut to 25: %+v", u)
	}
	if !slices.Equal(both.ranges, []fileRun{{0, 5}, {7, 9}}) || both.limit != 5 {
		t.Errorf("then cut to 5 and written: %+v", both)
	}
}
