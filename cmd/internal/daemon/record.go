package daemon

import (
	"errors"
	"slices"
	"syscall"

	"bazil/ctlfs"
	"bazil/noiseconn"
	"bazil/store"
	"bazil/store/vol"
)

// The tables of the configuration.
const (
	peerTable    = "peers"
	volumeTable  = "volumes"
	exportTable  = "exports"
	counterTable = "counters"
)

// localBackend is the storage that is this device's own.
const localBackend = "local"

// peerRecord is what is known of a peer. It is found by its key.
type peerRecord struct {
	Name     string   `cbor:"1,keyasint,omitempty"` // empty: it has none
	Location string   `cbor:"2,keyasint,omitempty"` // HOST:PORT; empty: not known
	Storage  []string `cbor:"3,keyasint,omitempty"` // backends it may fetch from
	Volumes  []string `cbor:"4,keyasint,omitempty"` // names of volumes it may see
}

// volumeRecord is what is configured of a volume. It is found by its name.
//
// A pin is a path and stays one when what is there is renamed: a rename that a
// peer made comes in as a name that went and one that came, with nothing to
// tell that they are the same file. A pin that followed the renames made here
// and not those would be harder to predict, and what was fetched for it stays.
type volumeRecord struct {
	ID         vol.ID   `cbor:"1,keyasint"`
	Number     uint16   `cbor:"2,keyasint"` // never given out twice, never 0
	Sharing    string   `cbor:"3,keyasint"` // name of the sharing key
	Storage    []string `cbor:"4,keyasint,omitempty"`
	OriginPeer string   `cbor:"5,keyasint,omitempty"`  // key of the peer it was connected to
	OriginName string   `cbor:"6,keyasint,omitempty"`  // its name there
	Keep       string   `cbor:"11,keyasint,omitempty"` // keepLazy or empty
	Pins       []string `cbor:"12,keyasint,omitempty"` // paths whose content is kept all the same
	Follow     []string `cbor:"10,keyasint,omitempty"` // keys of peers that it follows
}

// exportRecord is what is configured of an export. It is found by its name.
type exportRecord struct {
	Dial  string   `cbor:"1,keyasint"`
	Words []string `cbor:"2,keyasint,omitempty"` // as export.ParseSpec reads them
}

// peerEntry is a peer with its key.
type peerEntry struct {
	key noiseconn.PublicKey
	peerRecord
}

// label is what to call a peer: its name if it has one.
func (p peerEntry) label() string {
	if p.Name != "" {
		return p.Name
	}
	return p.key.String()
}

// findPeer returns the peer that goes by this name or key.
func findPeer(tx *store.Tx, ref string) (peerEntry, error) {
	if key, err := noiseconn.ParsePublicKey(ref); err == nil {
		p := peerEntry{key: key}
		err := tx.Get(peerTable, key.String(), &p.peerRecord)
		if errors.Is(err, store.ErrNotFound) {
			return p, ctlfs.Errorf(syscall.ENOENT, "no peer has the key %s: peer add makes it known", ref)
		}
		return p, err
	}
	all, err := listPeers(tx)
	if err != nil {
		return peerEntry{}, err
	}
	i := slices.IndexFunc(all, func(p peerEntry) bool { return p.Name == ref })
	if i < 0 || ref == "" {
		return peerEntry{}, ctlfs.Errorf(syscall.ENOENT, "no peer %q: peer list tells those there are", ref)
	}
	return all[i], nil
}

func listPeers(tx *store.Tx) ([]peerEntry, error) {
	var all []peerEntry
	err := tx.Each(peerTable, func(k string, get func(any) error) error {
		key, err := noiseconn.ParsePublicKey(k)
		if err != nil {
			return err
		}
		p := peerEntry{key: key}
		all = append(all, p)
		return get(&all[len(all)-1].peerRecord)
	})
	return all, err
}

func (p peerEntry) put(tx *store.Tx) error { return tx.Put(peerTable, p.key.String(), p.peerRecord) }

// volumeEntry is a volume with its name.
type volumeEntry struct {
	name string
	volumeRecord
}

func findVolume(tx *store.Tx, name string) (volumeEntry, error) {
	v := volumeEntry{name: name}
	err := tx.Get(volumeTable, name, &v.volumeRecord)
	if errors.Is(err, store.ErrNotFound) {
		return v, noVolume(name)
	}
	return v, err
}

func noVolume(name string) error {
	return ctlfs.Errorf(syscall.ENOENT, "no volume %q: volume list tells those there are", name)
}

func listVolumes(tx *store.Tx) ([]volumeEntry, error) {
	var all []volumeEntry
	err := tx.Each(volumeTable, func(name string, get func(any) error) error {
		all = append(all, volumeEntry{name: name})
		return get(&all[len(all)-1].volumeRecord)
	})
	return all, err
}

func (v volumeEntry) put(tx *store.Tx) error { return tx.Put(volumeTable, v.name, v.volumeRecord) }

// exportEntry is an export with its name.
type exportEntry struct {
	name string
	exportRecord
}

func listExports(tx *store.Tx) ([]exportEntry, error) {
	var all []exportEntry
	err := tx.Each(exportTable, func(name string, get func(any) error) error {
		all = append(all, exportEntry{name: name})
		return get(&all[len(all)-1].exportRecord)
	})
	return all, err
}

// maxNumber is the last number for a volume: it stands in the upper 16 bits of
// a QID path, the topmost of which is that of snapshots.
const maxNumber = 1<<15 - 1

// nextNumber gives out a number that was never given out before, from 1.
func nextNumber(tx *store.Tx, counter string) (uint16, error) {
	var last uint16
	err := tx.Get(counterTable, counter, &last)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	if last >= maxNumber {
		return 0, ctlfs.Errorf(syscall.ENOSPC, "this data directory has given out all numbers for a %s", counter)
	}
	return last + 1, tx.Put(counterTable, counter, last+1)
}

// view and update run f in a transaction on the configuration.
func (d *Daemon) view(f func(tx *store.Tx) error) error   { return d.store.Config().View(f) }
func (d *Daemon) update(f func(tx *store.Tx) error) error { return d.store.Config().Update(f) }
