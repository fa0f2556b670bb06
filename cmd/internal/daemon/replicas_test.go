package daemon

import (
	"strings"
	"testing"
)

// TestVersionsOfStrangers: a device that this one has never met is told by the
// one that has.
func TestVersionsOfStrangers(t *testing.T) {
	white, black := couple(t)
	must(t, white, "peer storage allow black local", "peer volume allow black v")
	must(t, black, "volume connect white v sharing=whites")
	write(t, white, "v/plan", "white's")
	write(t, black, "v/plan", "black's")
	must(t, black, "sync v white")

	green := start(t, "")
	key, err := white.store.SharingKey(defaultSharing)
	if err != nil {
		t.Fatal(err)
	}
	if err := (keyring{green}).Add(t.Context(), "whites", key[:]); err != nil {
		t.Fatal(err)
	}
	must(t, black, "peer add "+green.PublicKey()+" green", "peer storage allow green local", "peer volume allow green v")
	must(t, green, "peer add "+black.PublicKey()+" black", "peer location set black "+black.Addr().String(),
		"volume connect black v sharing=whites", "sync v black")
	short := white.key.Public().Short()
	list, err := ctl(t, green, "conflicts v")
	if err != nil || !strings.Contains(list, "file=plan.black.") || !strings.Contains(list, "file=plan."+short+".") {
		t.Errorf("conflicts: %s, %v; want versions of black and %s", list, err, short)
	}
	must(t, green, "resolve v/plan keep "+short)
	wantFile(t, green, "v/plan", "white's")
}
