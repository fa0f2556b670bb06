package store

import (
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// OpenBoltToRead opens a Bolt file, which nobody else has open, for looking at
// it: nothing in it changes.
func OpenBoltToRead(path string) (b *Bolt, err error) {
	defer faults()()
	defer caught(path, &err)
	db, err := bolt.Open(path, fileMode, &bolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	b = newBolt(db)
	if b.lost, err = checkMetas(path, db.Info().PageSize); err != nil {
		db.Close()
		return nil, err
	}
	return b, nil
}

// CheckStructure has Bolt check its pages; fault is called with each thing
// that is wrong. Bolt does that in a goroutine of its own, where a panic over
// a damaged page ends the process: all values must have been read and found
// good before.
func (b *Bolt) CheckStructure(fault func(error)) error {
	return b.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			fault(fmt.Errorf("%w: %w", ErrDamaged, err))
		}
		return nil
	})
}
