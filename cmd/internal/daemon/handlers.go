package daemon

import (
	"context"
	"maps"

	"bazil/ctlfs"
)

// handlers says what does each command of ctlfs's table.
func (d *Daemon) handlers() map[string]ctlfs.Handler {
	all := map[string]ctlfs.Handler{
		"status":         d.status,
		"sync":           d.sync,
		"sync all":       d.syncAll,
		"sharing list":   d.sharingList,
		"peer list":      d.peerList,
		"volume connect": d.volumeConnect, // takes its turn when the peer has answered
		"volume list":    d.volumeList,
		"export list":    d.exportList,

		"conflicts": d.conflicts,
		"resolve":   d.resolve,
	}
	for verb, h := range map[string]ctlfs.Handler{
		"sharing add":           d.sharingAdd,
		"sharing remove":        d.sharingRemove,
		"peer add":              d.peerAdd,
		"peer rename":           d.peerRename,
		"peer remove":           d.peerRemove,
		"peer location set":     d.peerLocationSet,
		"peer location clear":   d.peerLocationClear,
		"peer storage allow":    d.peerStorageAllow,
		"peer storage revoke":   d.peerStorageRevoke,
		"peer volume allow":     d.peerVolumeAllow,
		"peer volume revoke":    d.peerVolumeRevoke,
		"volume create":         d.volumeCreate,
		"volume remove":         d.volumeRemove,
		"volume restore":        d.volumeRestore,
		"volume keep":           d.volumeKeep,
		"volume pin":            d.volumePin,
		"volume unpin":          d.volumeUnpin,
		"volume storage add":    d.volumeStorageAdd,
		"volume storage remove": d.volumeStorageRemove,
		"volume follow":         d.volumeFollow,
		"export add":            d.exportAdd,
		"export remove":         d.exportRemove,
	} {
		all[verb] = func(ctx context.Context, c *ctlfs.Call) error {
			return d.alone(ctx, func() error { return h(ctx, c) })
		}
	}
	maps.Copy(all, d.snapshotHandlers())
	maps.Copy(all, d.storeHandlers())
	return all
}

// alone runs what changes the configuration, one change at a time: what is
// open follows what is recorded. Nothing waits for it that it could wait for.
func (d *Daemon) alone(ctx context.Context, change func() error) error {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.turn }()
	return change()
}
