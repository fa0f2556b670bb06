package vol

import (
	"context"
	"fmt"

	"bazil/merge"
)

// Place is a directory that a peer's state is compared with: one that is here,
// or one that is not, with the View that it would begin with.
type Place struct {
	Here  bool
	Local uint64 // its number if it is here, 0 for the root
	View  merge.View
}

// Foreseen is a name of a directory that an Apply would change, or look below.
type Foreseen struct {
	Name     string
	Was      merge.Kind // what it shows, 0 for nothing
	Is       merge.Kind // what it would show; 0 also where that depends on what is below
	News     bool       // versions or settings would change
	Conflict bool       // its versions would differ, and do not
	IfDir    bool       // the same, if a directory were there because of what is below

	Below  *Place    // the directory to be compared next, nil for none
	Remote uint64    // the sender's number of it
	Lack   *DirState // where Remote is 0: the state to compare it with, without asking
}

// Foresight is what Apply of a peer's state of a directory, or of a piece of
// it, would change.
type Foresight struct {
	Names  []Foreseen
	Stays  bool   // a name that it looked at exists and would, and is not in Names
	Looked uint64 // how many of the names that it looked at exist
	Live   uint64 // how many exist in the directory
}

// Preview says what Apply would change, and changes nothing. Errors: as
// Apply's.
func (v *Volume) Preview(ctx context.Context, at Place, remote DirState) (f Foresight, err error) {
	if err := remote.check(); err != nil {
		return f, fmt.Errorf("compare a peer's directory %d: %w", remote.Dir, err)
	}
	v.mu.Lock()
	defer v.unlock()
	if v.closed {
		return f, errClosed
	}
	p := previewer{v: v, remote: &remote, meeting: merge.Meeting{Mine: at.View, Theirs: remote.View}}
	if at.Here {
		if p.d, err = v.dirByNumber(at.Local); err != nil {
			return f, err
		}
		p.meeting.Mine = p.d.view(v.state.dot())
	}
	return p.names()
}

// previewer compares one directory. d is nil where it is not here.
type previewer struct {
	v       *Volume
	d       *dir
	remote  *DirState
	meeting merge.Meeting
}

func (p *previewer) names() (out Foresight, err error) {
	mine, err := p.local()
	if err != nil {
		return out, err
	}
	for i := range p.remote.Entries {
		delete(mine, p.remote.Entries[i].Name)
	}
	take := func(b *NamedEntry) error {
		f, exists, err := p.name(b)
		switch {
		case f.matters():
			out.Names = append(out.Names, f)
		case f.Is != 0:
			out.Stays = true
		}
		if exists {
			out.Looked++
		}
		return err
	}
	for i := range p.remote.Entries {
		if err := take(&p.remote.Entries[i]); err != nil {
			return out, err
		}
	}
	for name := range mine {
		if err := take(&NamedEntry{Name: name}); err != nil {
			return out, err
		}
	}
	if p.d != nil {
		out.Live = p.d.live
	}
	return out, nil
}

// matters says whether anything is to be told of the name.
func (f *Foreseen) matters() bool { return f.News || f.Below != nil }

// local are the names here, where those that the peer did not list count.
func (p *previewer) local() (map[string]bool, error) {
	mine := make(map[string]bool)
	if p.d == nil || p.remote.Partial {
		return mine, nil
	}
	names, err := p.v.namesIn(p.d, p.remote)
	for _, name := range names {
		mine[name] = true
	}
	return mine, err
}

// name works out what becomes of one name. exists says whether it does now.
func (p *previewer) name(b *NamedEntry) (f Foreseen, exists bool, err error) {
	var rec *record
	var sub *dir
	if p.d != nil {
		e, err := p.v.find(p.d, b.Name)
		if err != nil {
			return f, false, err
		}
		if sub, err = p.v.subdir(e); err != nil {
			return f, false, err
		}
		rec = e.rec
	}
	after := rec.clone()
	joined, changed, _ := p.meeting.Join(after.Entry, b.Entry)
	if settled, ok := joined.Settle(); ok {
		joined = settled
	}
	f = Foreseen{Name: b.Name, Was: rec.kind(), News: changed}
	p.below(&f, sub, b)
	after.Entry = joined
	after.Implied = after.Implied && f.Below == nil
	f.Is = after.kind()
	f.Conflict = after.conflict() && !rec.conflict()
	after.Implied = true
	f.IfDir = after.conflict() && !rec.conflict()
	return f, rec.exists(), nil
}

// below notes the directory at the name, if anything in it is news.
func (p *previewer) below(f *Foreseen, sub *dir, b *NamedEntry) {
	if sub == nil && b.Sub == 0 {
		return
	}
	place := Place{View: p.meeting.Mine.Lacking()}
	theirs := p.remote.View.Lacking()
	if sub != nil {
		place = Place{Here: true, Local: sub.num, View: p.meeting.Mine.Sub(sub.Dir)}
	}
	if b.Sub != 0 {
		theirs = b.SubView
	}
	if place.View.Knows(theirs) {
		return
	}
	f.Below, f.Remote = &place, b.Sub
	if b.Sub == 0 {
		f.Lack = &DirState{View: theirs}
	}
}
