package noiseconn

import (
	"fmt"

	"github.com/flynn/noise"
	"golang.org/x/sys/cpu"
)

// suite says what seals the records of a connection. It stands in the
// listener's answer; the package comment says how it is chosen.
type suite byte

const (
	chaChaPoly suite = 0
	aesGCM     suite = 1
)

// suites is a set of them, a bit each. ChaChaPoly needs none: all have it.
type suites byte

func (s suites) has(x suite) bool { return s&(1<<x) != 0 }

// fastSuites are those that this machine has instructions for. Without them
// AES would be slow, and its time would tell of the key.
func fastSuites() (s suites) {
	if cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSE41 || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL {
		s |= 1 << aesGCM
	}
	return s
}

// choose returns the suite for a dialer that offers some and a listener that
// has some. It passes over what it does not know.
func choose(offered, have suites) suite {
	if (offered & have).has(aesGCM) {
		return aesGCM
	}
	return chaChaPoly
}

// parseChoice reads the payload of a listener's answer.
func parseChoice(payload []byte, offered suites) (suite, error) {
	if len(payload) != 1 {
		return 0, errForeign
	}
	s := suite(payload[0])
	if s == chaChaPoly || s == aesGCM && offered.has(aesGCM) {
		return s, nil
	}
	return 0, fmt.Errorf("its answer is cipher %d, which this device has not offered", s)
}

// noise returns the suite in the terms of the framework.
func (s suite) noise() noise.CipherSuite {
	if s == aesGCM {
		return noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashBLAKE2s)
	}
	return noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashBLAKE2s)
}

// half returns a direction of a connection that goes on from the handshake's
// cs.
func (s suite) half(cs *noise.CipherState) half {
	return half{cs: noise.UnsafeNewCipherState(s.noise(), cs.UnsafeKey(), cs.Nonce())}
}
