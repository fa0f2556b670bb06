package vol

import (
	"context"

	"bazil/merge"
)

// meetOwn makes this another replica if a peer knows more of its changes than
// it made: it is then a copy that was put back.
func (v *Volume) meetOwn(theirs merge.View) {
	if max(theirs.Ctx.Get(v.state.replica), theirs.Max.Get(v.state.replica)) > v.state.n {
		v.renew()
	}
}

// renew makes this another replica.
func (v *Volume) renew() {
	old := v.state.dot()
	v.tellAs(old)
	v.root.Ctx = v.root.Ctx.With(old)
	v.markDir(v.root)
	v.state.replica, v.state.n = newReplicaID(), 0
	v.now.spent = false
	for _, d := range v.dirs {
		d.raised = 0
	}
	v.o.Log.Warn("this copy of the volume takes a new replica ID: another has the old one",
		"volume", v.id.String(), "old", old.Replica.String(), "new", v.state.replica.String())
}

// NewReplica makes this another replica, for when a peer has the same ID.
func (v *Volume) NewReplica(ctx context.Context) error {
	if err := v.begin(ctx); err != nil {
		return err
	}
	v.renew()
	v.unlock()
	return v.Sync(ctx)
}
