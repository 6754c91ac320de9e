// Package transport carries one client's media over one shared UDP port: it is
// the ICE-lite, DTLS and SRTP half of a WebRTC connection and knows no channels,
// codecs or SDP sections.
//
// An [Endpoint] is the port. Its reader goroutine takes batches of datagrams
// from package wire and tells them apart by their first byte (RFC 7983):
//
//	STUN  → answered on the spot (RFC 8445 lite; username, MESSAGE-INTEGRITY)
//	DTLS  → the peer's queue, read by its handshake
//	SRTP  → Handler.Datagrams, one call per peer and batch
//
// A [Peer] is one client. Its owner learns through the [Handler] that the
// handshake is over, and from then on calls Unprotect and SealRTP from the one
// goroutine that owns the peer; these take no lock and, with AES-GCM, allocate
// nothing.
//
// A peer may carry data channels, too: an SCTP association over its DTLS
// connection (data.go, association.go). Its [DataHandler] is called from one
// goroutine, that in which pion reads the association; Peer.Send may be called
// from any.
//
// Goroutines: the reader and the sweeper, started by [Listen] and ended by
// [Endpoint.Close]; and one per peer during its DTLS handshake and for as long
// as its DTLS connection is attended, with pion's below it. A peer that is up
// rests and has none (see handshake.go), unless it carries data: then there are
// seven, and for the two seconds of its farewell one more.
package transport
