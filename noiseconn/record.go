package noiseconn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/flynn/noise"
)

const (
	headerLen  = 2
	tagLen     = 16
	maxSealed  = noise.MaxMsgLen       // L of the longest data record
	maxPayload = maxSealed - tagLen    // payload of the longest data record
	maxRecord  = headerLen + maxSealed // the longest data record on the wire
)

// A direction is rekeyed before the record after this many.
const (
	rekeyMessages = 1 << 16
	rekeyBytes    = 1 << 28
)

// recordType says what a record is.
type recordType uint16

// The types that stand on the wire, and data, whose place a length takes.
const (
	recordData    recordType = 0
	recordConfirm recordType = 1
	recordClose   recordType = 2
)

var errRecord = errors.New("noise: a record was damaged or is not the peer's")

// header is the start of a record, as parsed.
type header struct {
	kind   recordType
	sealed int // bytes after the header, tag included
}

func parseHeader(b []byte) (header, error) {
	n := int(binary.BigEndian.Uint16(b))
	switch {
	case n > tagLen:
		return header{recordData, n}, nil
	case n == int(recordConfirm), n == int(recordClose):
		return header{recordType(n), tagLen}, nil
	}
	return header{}, fmt.Errorf("%w: its length is %d", errRecord, n)
}

// half is one direction of a connection.
type half struct {
	cs       *noise.CipherState
	messages int // since the last rekeying
	bytes    int // since the last rekeying
}

// turn rekeys when it is time and counts a record of n sealed bytes.
func (h *half) turn(n int) {
	if h.messages >= rekeyMessages || h.bytes >= rekeyBytes {
		h.cs.Rekey()
		h.messages, h.bytes = 0, 0
	}
	h.messages++
	h.bytes += n
}

// seal appends the data record of payload to out. The payload may stand in
// out's spare capacity, headerLen behind its end.
func (h *half) seal(out, payload []byte) ([]byte, error) {
	h.turn(len(payload) + tagLen)
	return h.append(out, uint16(len(payload)+tagLen), payload)
}

// sealBare appends a record without payload to out.
func (h *half) sealBare(out []byte, t recordType) ([]byte, error) {
	h.turn(tagLen)
	return h.append(out, uint16(t), nil)
}

func (h *half) append(out []byte, head uint16, payload []byte) ([]byte, error) {
	var ad [headerLen]byte
	binary.BigEndian.PutUint16(ad[:], head)
	return h.cs.Encrypt(append(out, ad[:]...), ad[:], payload)
}

// open opens one whole record and appends its payload to out, which may be
// the place the sealed bytes stand in. After an error the direction is dead.
func (h *half) open(out, record []byte) ([]byte, error) {
	h.turn(len(record) - headerLen)
	out, err := h.cs.Decrypt(out, record[:headerLen], record[headerLen:])
	if err != nil {
		return nil, errRecord
	}
	return out, nil
}
