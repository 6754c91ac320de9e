package transport

import (
	"encoding/binary"
	"errors"
)

// Why a packet is not taken; to the outside all are the same.
var (
	errReplayed = errors.New("packet came before, or is too old")
	errForged   = errors.New("packet is not authentic")
)

// Unprotect checks and decrypts d in place and says whether it is RTCP. The
// packet lies within d.Data and lives until d is freed. Repeated and forged
// packets are errors; what is left of them is worthless. Only the peer's owner
// may call it.
func (p *Peer) Unprotect(d *Datagram) (packet []byte, rtcp bool, err error) {
	m := p.media.Load()
	if m == nil {
		return nil, false, ErrNotUp
	}
	if len(d.Data) < 12 {
		return nil, false, ErrMalformed
	}
	packet, rtcp, err = m.open(d.Data)
	if err != nil {
		p.endpoint.stats.drop(unverified)
		return nil, rtcp, err
	}
	p.seen.Store(p.endpoint.since(d.At))
	return packet, rtcp, nil
}

// isRTCP tells the two apart by the packet type (RFC 5761 §4).
func isRTCP(b []byte) bool { return b[1] >= 192 && b[1] <= 223 }

// open decrypts an SRTP or SRTCP packet of 12 bytes or more in place.
func (m *media) open(b []byte) (packet []byte, rtcp bool, err error) {
	kind, ssrc := streamRTP, binary.BigEndian.Uint32(b[8:])
	if rtcp = isRTCP(b); rtcp {
		kind, ssrc = streamRTCP, binary.BigEndian.Uint32(b[4:])
	}
	s, err := m.from(ssrc)
	if err != nil {
		return nil, rtcp, err
	}
	if m.gcm == nil {
		if packet, err = m.cm.open(b, kind); err == nil {
			m.keep(s, ssrc)
		}
		return packet, rtcp, err
	}
	var known *window
	if s != nil {
		known = s.came[kind]
	}
	packet, index, err := m.gcm.open(b, kind, known)
	switch {
	case err != nil:
		return nil, rtcp, err
	case known != nil:
		known.accept(index)
	default:
		m.keep(s, ssrc).came[kind] = newWindow(index)
	}
	return packet, rtcp, nil
}
