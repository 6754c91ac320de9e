package transport

import (
	"encoding/binary"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// SealRTP encrypts one RTP packet into b: header (12 bytes, CSRCs and
// extensions, taken as they are) and payload, followed inside the encrypted part
// by padding bytes of RTP padding (at most 255; sets the P bit; 0: none). Header
// and payload are not kept or changed. Only the peer's owner may call it.
//
// One sequence number of an SSRC must never be sealed with two different
// contents, header extensions included: AES-GCM would betray its key. Send
// repairs as RTX, or repeat the very same bytes.
func (p *Peer) SealRTP(b *Batch, header, payload []byte, padding int) error {
	m, route := p.media.Load(), p.route.Load()
	if m == nil || route == nil {
		return ErrNotUp
	}
	h := len(header)
	n := h + len(payload) + padding
	switch {
	case h < 12 || padding < 0 || padding > 255:
		return ErrMalformed
	case n+rtpTrailer > wire.MaxDatagram:
		return ErrTooLarge
	}
	dst := b.arena.Reserve(route, n+rtpTrailer)
	copy(dst, header)
	if m.gcm != nil && padding == 0 {
		// Straight from the shared payload.
		if err := m.gcm.seal(dst, h, payload); err != nil {
			return err
		}
		b.arena.Commit(n + gcmTag)
		return nil
	}
	copy(dst[h:], payload)
	if padding > 0 {
		dst[0] |= 0x20
		clear(dst[n-padding : n-1])
		dst[n-1] = byte(padding)
	}
	if m.gcm != nil {
		if err := m.gcm.seal(dst, h, dst[h:n]); err != nil {
			return err
		}
		b.arena.Commit(n + gcmTag)
		return nil
	}
	sealed, err := m.out.EncryptRTP(dst, dst[:n], &m.outRTP)
	if err != nil {
		return err
	}
	b.arena.Commit(len(sealed))
	return nil
}

// seal writes the encrypted payload and the tag behind the header that is in
// dst. The payload may lie where the ciphertext goes.
func (g *gcm) seal(dst []byte, header int, payload []byte) error {
	ssrc, seq := binary.BigEndian.Uint32(dst[8:]), binary.BigEndian.Uint16(dst[2:])
	roc, err := g.rollover(ssrc, seq)
	if err != nil {
		return err
	}
	g.aead.Seal(dst[header:header], g.nonce(ssrc, roc, seq), payload, dst[:header])
	return nil
}

// SealRTCP encrypts one compound RTCP packet into b, which is not kept or
// changed. Only the peer's owner may call it.
func (p *Peer) SealRTCP(b *Batch, packet []byte) error {
	m, route := p.media.Load(), p.route.Load()
	if m == nil || route == nil {
		return ErrNotUp
	}
	switch {
	case len(packet) < 8:
		return ErrMalformed
	case len(packet)+rtcpTrailer > wire.MaxDatagram:
		return ErrTooLarge
	}
	dst := b.arena.Reserve(route, len(packet)+rtcpTrailer)
	sealed, err := m.out.EncryptRTCP(dst, packet, &m.outRTCP)
	if err != nil {
		return err
	}
	b.arena.Commit(len(sealed))
	return nil
}
