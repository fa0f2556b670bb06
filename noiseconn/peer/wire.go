package peer

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of what is sent, in bytes.
const (
	// maxQuestion is the longest question; it goes out in one Twrite.
	maxQuestion = 128 << 10
	// maxRecord is the longest body of a record.
	maxRecord = 4 << 20
	// namesRecord is about where an 'n' record ends and the next begins.
	namesRecord = 128 << 10
)

// Bounds of what one question may ask for.
const (
	maxIDs  = 1024
	maxDirs = 1024
)

// maxNames is how many names one 'n' record may have.
const maxNames = 4096

// codec encodes and decodes everything that is CBOR here.
type codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCodec() (codec, error) {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return codec{}, err
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   8,
		MaxArrayElements:  1 << 14,
		MaxMapPairs:       1 << 10,
	}.DecMode()
	return codec{enc, dec}, err
}

// wire is the one codec; it has no state.
var wire = func() codec {
	c, err := newCodec()
	if err != nil {
		panic(err) // the options above contradict each other
	}
	return c
}()

// decode reads exactly one item into v.
func (c codec) decode(what string, b []byte, v any) error {
	if err := c.dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("malformed %s: %w", what, err)
	}
	return nil
}

// appendItem appends v to b.
func (c codec) appendItem(b []byte, v any) ([]byte, error) {
	item, err := c.enc.Marshal(v)
	return append(b, item...), err
}
