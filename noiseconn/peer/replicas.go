package peer

import (
	"context"
	"errors"

	"bazil/merge"
	"bazil/noiseconn"
)

// ReplicaKey says which device made a replica of a volume.
type ReplicaKey struct {
	Replica merge.ReplicaID
	Key     noiseconn.PublicKey
}

// Replicated is a Backend that knows which device a volume's replicas belong
// to, its own among them. The list may be long; the first maxReplicaKeys of it
// are told.
type Replicated interface {
	Replicas(volume string) ([]ReplicaKey, error)
}

// maxReplicaKeys is how many replicas of a volume one answer tells of.
const maxReplicaKeys = 4096

// wireReplica is one of the body of an 'r' record.
type wireReplica struct {
	_       struct{} `cbor:",toarray"`
	Replica uint64
	Key     []byte // 32 bytes
}

// replicas answers with the devices of a volume's replicas, as far as they are
// known here.
func (t *tree) replicas(name string) answers {
	return func(context.Context, []byte) (producer, error) {
		return once(func(_ context.Context, dst []byte) ([]byte, error) {
			if _, err := t.volume(name); err != nil {
				return dst, err
			}
			var list []ReplicaKey
			if b, ok := t.backend.(Replicated); ok {
				var err error
				if list, err = b.Replicas(name); err != nil {
					return dst, err
				}
			}
			return appendReplicas(dst, list)
		}), nil
	}
}

func appendReplicas(dst []byte, list []ReplicaKey) ([]byte, error) {
	rows := make([]wireReplica, 0, len(list))
	for _, r := range list[:min(len(list), maxReplicaKeys)] {
		rows = append(rows, wireReplica{Replica: uint64(r.Replica), Key: r.Key[:]})
	}
	return appendRecord(dst, kindReplicas, rows)
}

// parseReplicas reads the body of an 'r' record.
func parseReplicas(body []byte) ([]ReplicaKey, error) {
	var rows []wireReplica
	if err := wire.decode("replicas", body, &rows); err != nil {
		return nil, err
	}
	if len(rows) > maxReplicaKeys {
		return nil, errors.New("malformed replicas: too many")
	}
	list := make([]ReplicaKey, len(rows))
	for i, r := range rows {
		if r.Replica == 0 || len(r.Key) != len(noiseconn.PublicKey{}) {
			return nil, errors.New("malformed replicas: a key of another length, or replica 0")
		}
		list[i] = ReplicaKey{merge.ReplicaID(r.Replica), noiseconn.PublicKey(r.Key)}
	}
	return list, nil
}

// Replicas asks which devices the volume's replicas belong to, as far as the
// other device knows. It may be wrong about any but its own.
func (v *VolumeSource) Replicas(ctx context.Context) (list []ReplicaKey, err error) {
	err = v.client.control.single(ctx, question{path: v.path("replicas")}, kindReplicas, func(body []byte) (err error) {
		list, err = parseReplicas(body)
		return err
	})
	return list, v.describe(err)
}
