package daemon

import (
	"context"
	"errors"
	"strconv"

	"bazil/merge"
	"bazil/noiseconn"
	"bazil/noiseconn/peer"
	"bazil/store"
	"bazil/store/vol"
)

// replicaTable says which device made a replica of a volume. A conflict's
// versions are called by it. It is found by the replica's ID in hex, and stays
// when the peer, or the replica, is no more: versions live longer.
const replicaTable = "replicas"

// replicaRecord is what is known of a replica.
type replicaRecord struct {
	Volume vol.ID              `cbor:"1,keyasint"`
	Key    noiseconn.PublicKey `cbor:"2,keyasint"`           // of its device
	Heard  bool                `cbor:"3,keyasint,omitempty"` // from another device; else from that device
}

// noteReplicas remembers whose replicas these are. What a device says of itself
// counts more than what others say of it, and the first word counts.
func (d *Daemon) noteReplicas(volume vol.ID, heard bool, list ...peer.ReplicaKey) error {
	var news []peer.ReplicaKey
	err := d.view(func(tx *store.Tx) (err error) {
		news, err = newReplicas(tx, heard, list)
		return err
	})
	if err != nil || len(news) == 0 {
		return err
	}
	return d.update(func(tx *store.Tx) error {
		news, err := newReplicas(tx, heard, news)
		for _, r := range news {
			err = errors.Join(err, tx.Put(replicaTable, r.Replica.String(), replicaRecord{volume, r.Key, heard}))
		}
		return err
	})
}

// newReplicas are those of list that are to be remembered.
func newReplicas(tx *store.Tx, heard bool, list []peer.ReplicaKey) (news []peer.ReplicaKey, err error) {
	for _, r := range list {
		var known replicaRecord
		err := tx.Get(replicaTable, r.Replica.String(), &known)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && known.Heard && !heard:
			news = append(news, r)
		case err != nil:
			return nil, err
		}
	}
	return news, nil
}

// eachReplica calls fn for all replicas that are known.
func eachReplica(tx *store.Tx, fn func(id merge.ReplicaID, r replicaRecord)) error {
	return tx.Each(replicaTable, func(k string, get func(any) error) error {
		id, err := strconv.ParseUint(k, 16, 64)
		if err != nil {
			return err
		}
		var r replicaRecord
		if err := get(&r); err != nil {
			return err
		}
		fn(merge.ReplicaID(id), r)
		return nil
	})
}

// Replicas tells a peer whose replicas of a volume are whose.
func (b backend) Replicas(name string) (list []peer.ReplicaKey, err error) {
	v := b.d.volumes.get(name)
	if v == nil {
		return nil, &peer.Absent{What: "volume", Name: name}
	}
	err = b.d.view(func(tx *store.Tx) error {
		return eachReplica(tx, func(id merge.ReplicaID, r replicaRecord) {
			if r.Volume == v.id {
				list = append(list, peer.ReplicaKey{Replica: id, Key: r.Key})
			}
		})
	})
	return list, err
}

// learnReplicas remembers whose replica a peer's is, this device's own, should
// it have become another, and, where the peer's was news or a conflict has
// versions of unknown replicas, what the peer knows of others. What fails is
// names of versions, and tried again next time.
func (d *Daemon) learnReplicas(ctx context.Context, v *openVolume, p peerEntry, src *peer.VolumeSource, in vol.Info) {
	if err := d.askReplicas(ctx, v, p, src, in); err != nil && ctx.Err() == nil {
		d.log.Warn("not learned whose replicas are whose", "volume", v.name, "peer", p.label(), "err", err)
	}
}

func (d *Daemon) askReplicas(ctx context.Context, v *openVolume, p peerEntry, src *peer.VolumeSource, in vol.Info) error {
	if err := d.noteReplicas(v.id, false, peer.ReplicaKey{Replica: v.vol.Replica(), Key: d.key.Public()}); err != nil {
		return err
	}
	names, err := d.replicaNames()
	if err != nil {
		return err
	}
	ask := !names.knows(in.Replica)
	if err := d.noteReplicas(v.id, false, peer.ReplicaKey{Replica: in.Replica, Key: p.key}); err != nil {
		return err
	}
	if !ask {
		if ask, err = unknownVersions(ctx, v, names); err != nil || !ask {
			return err
		}
	}
	list, err := src.Replicas(ctx)
	if err != nil {
		return err
	}
	return d.noteReplicas(v.id, true, list...)
}

// unknownVersions tells whether a conflict has a version of a replica that is
// not known. Where all are known they stay so until the conflicts are others.
func unknownVersions(ctx context.Context, v *openVolume, names *replicaNames) (bool, error) {
	stats, err := v.vol.Stats(ctx)
	if err != nil || stats.Conflicts == 0 || v.versionsKnown.Load() == stats.ConflictChange+1 {
		return false, err
	}
	for c, err := range v.vol.EachConflict(ctx) {
		if err != nil {
			return false, err
		}
		for _, s := range c.Siblings {
			if s.Dot != (merge.Dot{}) && !names.knows(s.Dot.Replica) {
				return true, nil
			}
		}
	}
	v.versionsKnown.Store(stats.ConflictChange + 1)
	return false, nil
}

// replicaNames says what to call the devices of replicas.
type replicaNames struct {
	own   noiseconn.PublicKey
	keys  map[merge.ReplicaID]noiseconn.PublicKey
	peers map[noiseconn.PublicKey]string // nicknames
}

func (d *Daemon) replicaNames() (*replicaNames, error) {
	n := &replicaNames{
		own:   d.key.Public(),
		keys:  make(map[merge.ReplicaID]noiseconn.PublicKey),
		peers: make(map[noiseconn.PublicKey]string),
	}
	err := d.view(func(tx *store.Tx) error {
		all, err := listPeers(tx)
		for _, p := range all {
			n.peers[p.key] = p.Name
		}
		return errors.Join(err, eachReplica(tx, func(id merge.ReplicaID, r replicaRecord) { n.keys[id] = r.Key }))
	})
	return n, err
}

func (n *replicaNames) knows(id merge.ReplicaID) bool { return n.keys[id] != noiseconn.PublicKey{} }

// key is the device that made what dot names; what has no dot was made here.
func (n *replicaNames) key(dot merge.Dot) (key noiseconn.PublicKey, ok bool) {
	if dot == (merge.Dot{}) {
		return n.own, true
	}
	key, ok = n.keys[dot.Replica]
	return key, ok
}

// label is what to call the device that made what dot names: its nickname, or
// the beginning of its key; of a replica whose device is not known, of its ID.
func (n *replicaNames) label(dot merge.Dot) string {
	key, ok := n.key(dot)
	switch {
	case !ok:
		return dot.Replica.String()[:8]
	case n.peers[key] != "":
		return n.peers[key]
	}
	return key.Short()
}

// called tells whether word names the device that made what dot names: by
// nickname, key, or replica, the latter two in full or their beginning.
func (n *replicaNames) called(word string, dot merge.Dot) bool {
	replica := dot.Replica.String()
	if word == replica || word == replica[:8] {
		return dot != merge.Dot{}
	}
	key, ok := n.key(dot)
	return ok && (word == key.String() || word == key.Short() || word == n.peers[key] && word != "")
}
