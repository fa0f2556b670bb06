package noiseconn

import (
	"fmt"
	"log/slog"
	"time"
)

// Role is what the dialer of a connection is to the listener. Both sides must
// name the same one.
type Role uint8

const (
	// Asks is the role of a dialer that will ask while the listener answers.
	Asks Role = iota
	// Answers is the role of a dialer that offers to answer: a device that
	// cannot be reached from outside serves over a connection it made.
	Answers
)

// String returns the word for r.
func (r Role) String() string {
	switch r {
	case Asks:
		return "asks"
	case Answers:
		return "answers"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Config is what Dial and a Listener need to know.
type Config struct {
	// Key is this device's secret key.
	Key SecretKey
	// Known says whether a dialer's key may connect. It is asked during each
	// handshake, by several goroutines at once, and should not wait. A nil
	// Known refuses everybody. Dial does not use it.
	Known func(PublicKey) bool
	// Role is the dialer's, on both sides.
	Role Role
	// HandshakeTimeout bounds a handshake, for Dial connecting included.
	// Zero: 10 s.
	HandshakeTimeout time.Duration
	// MaxHandshakes bounds a Listener's unfinished handshakes, and also the
	// finished ones that wait for Accept. Zero: 64.
	MaxHandshakes int
	// Log gets refused keys and failed handshakes. Nil: nothing is logged.
	Log *slog.Logger
}

func (cfg Config) timeout() time.Duration {
	if cfg.HandshakeTimeout <= 0 {
		return 10 * time.Second
	}
	return cfg.HandshakeTimeout
}

func (cfg Config) handshakes() int {
	if cfg.MaxHandshakes <= 0 {
		return 64
	}
	return cfg.MaxHandshakes
}

func (cfg Config) log() *slog.Logger {
	if cfg.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return cfg.Log
}
