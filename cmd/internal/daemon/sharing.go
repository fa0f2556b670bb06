package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"bazil/ctlfs"
	"bazil/store"
)

// defaultSharing is the sharing key that every data directory begins with.
const defaultSharing = "default"

// keyring is the sharing keys as ctl shows them.
type keyring struct{ d *Daemon }

// Names lists the keys.
func (k keyring) Names(context.Context) ([]string, error) { return k.d.store.SharingKeys(), nil }

// Fingerprint tells keys apart.
func (k keyring) Fingerprint(_ context.Context, name string) (string, error) {
	key, err := k.d.sharingKey(name)
	if err != nil {
		return "", err
	}
	return key.Fingerprint(), nil
}

// Add takes a new key.
func (k keyring) Add(_ context.Context, name string, secret []byte) error {
	if err := ctlfs.CheckName("sharing key", name); err != nil {
		return err
	}
	key, err := store.ParseSharingKey(secret)
	if err != nil {
		return ctlfs.Errorf(syscall.EINVAL, "sharing key %q: %v", name, err)
	}
	err = k.d.store.AddSharingKey(name, key)
	if errors.Is(err, store.ErrExists) {
		return ctlfs.Errorf(syscall.EEXIST, "sharing key %q is there already", name)
	}
	if err == nil {
		k.d.event("sharing.add", "sharing", name)
	}
	return err
}

// Remove forgets a key that no volume uses.
func (k keyring) Remove(_ context.Context, name string) error {
	if _, err := k.d.sharingKey(name); err != nil {
		return err
	}
	used, err := k.d.sharingUsers(name)
	if err != nil {
		return err
	}
	if len(used) > 0 {
		return ctlfs.Errorf(syscall.EBUSY, "sharing key %q is what volume %q is sealed under: remove the volume first", name, used[0])
	}
	if err := k.d.store.RemoveSharingKey(name); err != nil {
		return fmt.Errorf("remove sharing key %q: %w", name, err)
	}
	k.d.event("sharing.remove", "sharing", name)
	return nil
}

// sharingKey finds a key, or says which there are.
func (d *Daemon) sharingKey(name string) (store.SharingKey, error) {
	key, err := d.store.SharingKey(name)
	if errors.Is(err, store.ErrNotFound) {
		return key, ctlfs.Errorf(syscall.ENOENT, "no sharing key %q: sharing list tells those there are", name)
	}
	return key, err
}

// sharingUsers are the names of the volumes sealed under a key.
func (d *Daemon) sharingUsers(name string) (users []string, err error) {
	err = d.view(func(tx *store.Tx) error {
		all, err := listVolumes(tx)
		for _, v := range all {
			if v.Sharing == name {
				users = append(users, v.name)
			}
		}
		return err
	})
	return users, err
}

func (d *Daemon) sharingAdd(ctx context.Context, c *ctlfs.Call) error {
	secret, err := readKeyFile(c.Arg("file"))
	if err != nil {
		return err
	}
	defer clear(secret)
	return keyring{d}.Add(ctx, c.Arg("name"), secret)
}

// readKeyFile reads a file of one sharing key. It opens nothing but regular
// files, and tells nothing of what else they hold.
func readKeyFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("sharing key: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("sharing key: %w", err)
	}
	secret := make([]byte, len(store.SharingKey{}))
	if !fi.Mode().IsRegular() || fi.Size() != int64(len(secret)) {
		return nil, ctlfs.Errorf(syscall.EINVAL, "sharing key: %s is not a file of exactly %d bytes", path, len(secret))
	}
	_, err = io.ReadFull(f, secret)
	return secret, err
}

func (d *Daemon) sharingRemove(ctx context.Context, c *ctlfs.Call) error {
	return keyring{d}.Remove(ctx, c.Arg("name"))
}

func (d *Daemon) sharingList(_ context.Context, c *ctlfs.Call) error {
	records, err := d.sharingStatus()
	c.Records(records)
	return err
}

func (d *Daemon) sharingStatus() ([]ctlfs.Record, error) {
	names := d.store.SharingKeys()
	slices.Sort(names)
	var records []ctlfs.Record
	for _, name := range names {
		key, err := d.store.SharingKey(name)
		if err != nil {
			return nil, err
		}
		records = append(records, ctlfs.Rec("sharing", name, "fingerprint", key.Fingerprint()))
	}
	return records, nil
}
