package peer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"bazil/noiseconn"
)

// code says what kind of error an 'e' record is.
type code uint8

const (
	codeDenied code = 1 // the key lacks a permission
	codeAbsent code = 2 // there is nothing of that name or number
	codeAsked  code = 3 // the question is wrong
	codeFailed code = 4 // the device could not do it
)

var (
	// ErrDenied is wrapped by the error of what the other device does not
	// allow; the error's text is that device's, and says which permission
	// is missing.
	ErrDenied = errors.New("permission denied")
	// ErrAbsent is wrapped when the other device has no such thing.
	ErrAbsent = errors.New("not found")
	// ErrLied is wrapped when the other device's bytes are not what they must
	// be. Its connection is then ended.
	ErrLied = errors.New("the peer broke the protocol")
)

// Denied is the error by which a Backend refuses something to a peer. Its text
// is sent to the peer's user.
type Denied struct {
	Key  noiseconn.PublicKey // who asked
	What string              // "storage" or "volume", as in the command that allows it
	Name string              // of the backend or volume
}

// Error names the permission and how it is given.
func (d *Denied) Error() string {
	return fmt.Sprintf("peer %s has no %s permission for %s: run `bazil peer %s allow %v %s` there",
		d.Key.Short(), d.What, d.Name, d.What, d.Key, d.Name)
}

// Unwrap makes errors.Is(err, ErrDenied) true.
func (d *Denied) Unwrap() error { return ErrDenied }

// Absent is the error by which a Backend says that it has no such volume or
// backend although the peer may ask for it.
type Absent struct {
	What string // "volume", "storage", "directory"
	Name string
}

// Error names what is not there.
func (a *Absent) Error() string { return fmt.Sprintf("%s %s is not there", a.What, a.Name) }

// Unwrap makes errors.Is(err, ErrAbsent) true.
func (a *Absent) Unwrap() error { return ErrAbsent }

// RemoteError is an error that the other device answered with.
type RemoteError struct {
	Text string // its words, made harmless to print
	code code
}

// Error returns the other device's words.
func (e *RemoteError) Error() string { return e.Text }

// Unwrap returns the sentinel that fits.
func (e *RemoteError) Unwrap() error {
	switch e.code {
	case codeDenied:
		return ErrDenied
	case codeAbsent:
		return ErrAbsent
	}
	return nil
}

// failure is the body of an 'e' record.
type failure struct {
	Code code   `cbor:"1,keyasint"`
	Text string `cbor:"2,keyasint"`
}

// askedError is an error in the question.
type askedError struct{ err error }

func (e *askedError) Error() string { return e.err.Error() }

// newFailure is what the peer gets to know of err: Denied and Absent as they
// are, what is wrong with its own question, and of all else only that it
// failed, since the text may name files of this device.
func newFailure(err error) failure {
	var asked *askedError
	switch {
	case errors.Is(err, ErrDenied):
		return failure{codeDenied, err.Error()}
	case errors.Is(err, ErrAbsent):
		return failure{codeAbsent, err.Error()}
	case errors.As(err, &asked):
		return failure{codeAsked, err.Error()}
	}
	return failure{codeFailed, "the peer could not read what was asked for; its log says why"}
}

// parseFailure reads the body of an 'e' record.
func parseFailure(body []byte) error {
	var f failure
	if err := wire.decode("error record", body, &f); err != nil {
		return err
	}
	return &RemoteError{Text: printable(f.Text), code: f.Code}
}

// maxText is how much of another device's text is shown, in bytes.
const maxText = 1 << 10

// printable makes text of another device harmless for a terminal and a log.
func printable(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
