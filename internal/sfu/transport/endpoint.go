package transport

import "net/netip"

// Endpoint is one UDP port that carries any number of peers.
type Endpoint struct{}

// Listen opens the port.
func Listen(c Config) (*Endpoint, error) { return nil, ErrClosed }

// Close closes the port and waits for the endpoint's goroutines. Peers that are
// still open go silent; no handler is called after Close has returned.
func (e *Endpoint) Close() error { return nil }

// LocalAddr is the address the port is bound to.
func (e *Endpoint) LocalAddr() netip.AddrPort { return netip.AddrPort{} }

// Candidates are the values of the SDP "candidate" attributes to offer, without
// "a=candidate:".
func (e *Endpoint) Candidates() []string { return nil }

// Fingerprint is the value of the SDP "fingerprint" attribute, "sha-256 AB:…".
func (e *Endpoint) Fingerprint() string { return "" }

// Stats is a snapshot of the endpoint's counters.
func (e *Endpoint) Stats() Stats { return Stats{} }

// Stats counts datagrams since the start of an endpoint.
type Stats struct {
	PacketsIn, BytesIn   int64
	PacketsOut, BytesOut int64 // media sent through batches
	Drops                map[DropReason]int64
}

// DropReason names why a datagram was dropped.
type DropReason string

// NewPeer makes a peer with fresh ICE credentials.
func (e *Endpoint) NewPeer(h Handler) *Peer { return nil }

// NewBatch makes an outgoing batch for one worker goroutine. It needs no Close.
func (e *Endpoint) NewBatch() *Batch { return nil }

// Batch collects sealed packets of one worker until Flush. It belongs to the
// goroutine that uses it.
type Batch struct{}

// Flush sends what has been sealed since the last Flush and says how much was
// sent since then, including what a full batch sent by itself. It never waits.
func (b *Batch) Flush() BatchStats { return BatchStats{} }

// Peer is one client.
type Peer struct{}

// Ufrag is the local ICE user name fragment.
func (p *Peer) Ufrag() string { return "" }

// Pwd is the local ICE password.
func (p *Peer) Pwd() string { return "" }

// SetRemote sets what the client's answer said: its ICE credentials and the
// fingerprint of its certificate. The handshake starts with the first valid
// check after it. Calling it again with the same values does nothing; other
// values are ErrRemoteChanged.
func (p *Peer) SetRemote(ufrag, pwd, fingerprint string) error { return nil }

// Close tells the client that the connection is over and frees everything. No
// call of the handler begins after it. It may be called more than once.
func (p *Peer) Close() {}

// Unprotect checks and decrypts d in place. The packet lies within d.Data and
// lives as long as d. Only the peer's owner may call it.
func (p *Peer) Unprotect(d *Datagram) (packet []byte, rtcp bool, err error) { return nil, false, ErrNotUp }

// SealRTP encrypts one RTP packet into b: header (12 bytes, CSRCs and
// extensions, taken as they are) and payload, followed inside the encrypted part
// by padding bytes of RTP padding (0: none, at most 255; sets the P bit).
// Sequence numbers of one SSRC must go forward except for repeats. Only the
// peer's owner may call it; header and payload are not kept.
func (p *Peer) SealRTP(b *Batch, header, payload []byte, padding int) error { return ErrNotUp }

// SealRTCP encrypts one compound RTCP packet into b. Only the peer's owner may
// call it; packet is not kept.
func (p *Peer) SealRTCP(b *Batch, packet []byte) error { return ErrNotUp }
