package transport

import (
	"github.com/hibari/hibari/internal/sfu/wire"
)

// Outlet is a peer's way out as it is at one moment: its keys and its address.
// It is looked up once for a train, not for each packet. It belongs to the
// peer's owner, who must not keep it longer than a train takes: it does not
// learn that the client has changed networks or is gone. Through the zero Outlet
// nothing goes.
type Outlet struct {
	media *media
	route *wire.Route
}

// Outlet is the peer's way out now; false, and the zero Outlet, when it is not up.
func (p *Peer) Outlet() (Outlet, bool) {
	m, route := p.media.Load(), p.route.Load()
	if m == nil || route == nil {
		return Outlet{}, false
	}
	return Outlet{m, route}, true
}

// SealRTP is Outlet.SealRTP for a single packet.
func (p *Peer) SealRTP(b *Batch, header, payload []byte, padding int) error {
	o, _ := p.Outlet()
	return o.SealRTP(b, header, payload, padding)
}

// SealRTP encrypts one RTP packet into b: header (12 bytes, CSRCs and
// extensions, taken as they are) and payload, followed inside the encrypted part
// by padding bytes of RTP padding (at most 255; sets the P bit; 0: none). Header
// and payload are not kept or changed.
//
// One sequence number of an SSRC must never be sealed with two different
// contents, header extensions included: AES-GCM would betray its key. Send
// repairs as RTX, or repeat the very same bytes.
func (o Outlet) SealRTP(b *Batch, header, payload []byte, padding int) error {
	n := len(header) + len(payload) + padding
	switch {
	case o.media == nil:
		return ErrNotUp
	case len(header) < 12 || padding < 0 || padding > 255:
		return ErrMalformed
	case n+rtpTrailer > wire.MaxDatagram:
		return ErrTooLarge
	}
	dst := b.arena.Reserve(o.route, n+rtpTrailer)
	size, err := o.media.sealRTP(dst, header, payload, padding)
	if err != nil {
		return err
	}
	b.arena.Commit(size)
	return nil
}

// sealRTP writes a protected packet to dst, which has room for it, and returns
// its size.
func (m *media) sealRTP(dst, header, payload []byte, padding int) (int, error) {
	h := copy(dst, header)
	n := h + len(payload) + padding
	if padding > 0 || m.gcm == nil {
		copy(dst[h:], payload)
		payload = dst[h:n]
	}
	if padding > 0 {
		dst[0] |= 0x20
		clear(dst[n-padding : n-1])
		dst[n-1] = byte(padding)
	}
	if m.gcm != nil {
		return n + gcmTag, m.gcm.sealRTP(dst, h, payload) // straight from the shared payload if it can be
	}
	sealed, err := m.cm.out.EncryptRTP(dst, dst[:n], &m.cm.outRTP)
	return len(sealed), err
}

// SealRTCP encrypts one compound RTCP packet into b, which is not kept or
// changed. Only the peer's owner may call it.
func (p *Peer) SealRTCP(b *Batch, packet []byte) error {
	o, ok := p.Outlet()
	if !ok {
		return ErrNotUp
	}
	switch {
	case len(packet) < controlHead:
		return ErrMalformed
	case len(packet)+rtcpTrailer > wire.MaxDatagram:
		return ErrTooLarge
	}
	dst := b.arena.Reserve(o.route, len(packet)+rtcpTrailer)
	size, err := o.media.sealRTCP(dst, packet)
	if err != nil {
		return err
	}
	b.arena.Commit(size)
	return nil
}

// sealRTCP is sealRTP for RTCP.
func (m *media) sealRTCP(dst, packet []byte) (int, error) {
	if m.gcm != nil {
		return m.gcm.sealRTCP(dst, packet)
	}
	sealed, err := m.cm.out.EncryptRTCP(dst, packet, &m.cm.outRTCP)
	return len(sealed), err
}
