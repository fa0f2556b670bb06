// Package noiseconn carries byte streams between devices that know each
// other's public keys: Noise_IK_25519_ChaChaPoly_BLAKE2s (Noise protocol
// framework, revision 34) over TCP, with AES-256-GCM for the records where both
// machines have instructions for it. It knows nothing of what runs inside.
//
// # What holds
//
// The dialer names the key it wants to reach and reaches that key or nobody.
// The listener asks Config.Known about the dialer's key before it answers
// anything; a stranger gets a closed connection and not one byte. Who does
// not know the listener's public key cannot even make it look at a key.
//
// The first message of a handshake can be recorded and sent again, so nothing
// happens on its strength: Listener.Accept returns a connection only after the
// dialer has proved, by a record under the session's keys, that it is live.
//
// A connection ends with a close record, which reads as io.EOF. A bare end of
// the TCP stream is a truncation and reads as io.ErrUnexpectedEOF. A record
// that is changed, moved, repeated or missing ends the connection for both
// directions.
//
// A read that meets its deadline keeps what has come of a record, and the next
// Read goes on there. A write that fails, by its deadline too, may have left
// part of a record on the wire: every later Write fails.
//
// A crowd of strangers cannot keep peers out: a handshake has a deadline,
// their number is bounded, and when the bound is met the oldest one of the
// address that holds most of them makes room.
//
// # Format
//
// The dialer begins with a hello, in the clear, which is the prologue of the
// handshake too, so that changing it makes the handshake fail.
//
//	 0      5      6         7      8
//	+------+------+---------+------+
//	| bazil|  0   | version | role |      version 2; role: see Role
//	+------+------+---------+------+
//
// Then both messages of the handshake, each behind its length (big-endian, as
// every number here), both with one byte of payload, which is sealed and
// authenticated like all of the handshake.
//
//	        0    2     34             82     83     99
//	       +----+-----+--------------+------+------+
//	-> e,  | 97 |  e  | sealed s,    | offer| tag  |
//	   es, +----+-----+ and tag      |      |      |
//	   s, ss          +--------------+------+------+
//	        0    2     34       35    51
//	       +----+-----+--------+-----+
//	<- e,  | 49 |  e  | choice | tag |
//	   ee, +----+-----+--------+-----+
//	   se
//
// The offer is a set of ciphers that the dialer would seal records with, bit N
// for cipher N; cipher 0 is always in it, whatever bit 0 is, and bits that the
// listener does not know mean nothing. The choice is one of the set.
//
//	0  ChaChaPoly: the handshake's
//	1  AESGCM: AES-256-GCM, with the framework's nonces for it: 4 zero bytes and
//	   the number in 8, big-endian
//
// A dialer offers, and a listener chooses, AESGCM if the processor has
// instructions for it; in software it would be slow and its time would tell of
// the key. Who changes offer or choice on the way makes the handshake fail, and a
// choice that was not offered does so too. The keys of the records' cipher are
// those of the framework's Split, each used with the one cipher that both sides
// have agreed on.
//
// From then on each side sends records. A length L from 17 to 65535 is a data
// record with L-16 bytes of payload. A length below 16, which no sealed
// message can have, is no length but the type of a record without payload:
// 1 confirms the handshake (the dialer's first record, and nobody's other),
// 2 closes the direction. The other values are errors.
//
//	 0    2                L-14     2+L
//	+----+----------------+--------+
//	| L  | sealed payload | tag    |        data
//	+----+----------------+--------+
//	 0    2        18
//	+----+--------+
//	| T  | tag    |                         T = 1 confirm, 2 close
//	+----+--------+
//
// Every record is one message of the direction's CipherState, its two header
// bytes are the additional data. Before a record is sealed or opened the
// direction is rekeyed (section 4.2 of the framework) if, since the handshake
// or the last rekeying, it has carried rekeyMessages records or at least
// rekeyBytes bytes of L. The nonce goes on counting.
//
// # Liveness
//
// TCP keepalives are on, and data that stays unacknowledged ends the
// connection: a peer that vanished is noticed within about two minutes, even
// by a Read without a deadline.
//
// # Speed
//
// One connection carries 1.04 GB/s over loopback with AESGCM and 0.62 to 0.70 with
// ChaChaPoly, on two cores of 2.5 GHz (BenchmarkThroughput), nearly all of it
// spent in the cipher and the kernel: payloads are sealed from the caller's
// buffer straight into the one that is written, several records a system call,
// and opened from the read buffer straight into the reader's. Content that moves
// from store to store (BenchmarkChunks of noiseconn/peer, three pairs of runs)
// moves at 578 MB/s in place of 463, which is what the second cipher is for.
package noiseconn
