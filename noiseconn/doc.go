// Package noiseconn carries byte streams between devices that know each
// other's public keys: Noise_IK_25519_ChaChaPoly_BLAKE2s (Noise protocol
// framework, revision 34) over TCP. It knows nothing of what runs inside.
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
//	| bazil|  0   | version | role |      version 1; role: see Role
//	+------+------+---------+------+
//
// Then both messages of the handshake, each behind its length (big-endian, as
// every number here), both with an empty payload.
//
//	        0    2     34             82          98
//	       +----+-----+--------------+-----------+
//	-> e,  | 96 |  e  | sealed s     | tag       |
//	   es, +----+-----+--------------+-----------+
//	   s, ss
//	        0    2     34    50
//	       +----+-----+-----+
//	<- e,  | 48 |  e  | tag |
//	   ee, +----+-----+-----+
//	   se
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
// One connection carries about 0.85 GB/s over loopback on two cores of 2.5 GHz
// (BenchmarkThroughput), nearly all of it spent in the cipher and the kernel: payloads are sealed from the caller's buffer straight
// into the one that is written, several records a system call, and opened from
// the read buffer straight into the reader's.
package noiseconn
