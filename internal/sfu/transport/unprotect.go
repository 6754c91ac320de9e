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
	if isRTCP(b) {
		packet, err = m.openRTCP(b)
		return packet, true, err
	}
	packet, err = m.openRTP(b)
	return packet, false, err
}

func (m *media) openRTP(b []byte) ([]byte, error) {
	ssrc := binary.BigEndian.Uint32(b[8:])
	s, err := m.from(ssrc)
	if err != nil {
		return nil, err
	}
	if m.gcm == nil {
		packet, err := m.cm.in.DecryptRTP(b, b, &m.cm.inRTP)
		if err == nil {
			m.keep(s, ssrc)
		}
		return packet, err
	}
	var known *window
	if s != nil {
		known = s.rtp
	}
	packet, index, err := m.gcm.openRTP(b, known)
	switch {
	case err != nil:
		return nil, err
	case known != nil:
		known.accept(index)
	default:
		m.keep(s, ssrc).rtp = newWindow(index)
	}
	return packet, nil
}

func (m *media) openRTCP(b []byte) ([]byte, error) {
	ssrc := binary.BigEndian.Uint32(b[4:])
	s, err := m.from(ssrc)
	if err != nil {
		return nil, err
	}
	if m.gcm == nil {
		packet, err := m.cm.in.DecryptRTCP(b, b, &m.cm.inRTCP)
		if err == nil {
			m.keep(s, ssrc)
		}
		return packet, err
	}
	var known *window
	if s != nil {
		known = s.rtcp
	}
	packet, index, err := m.gcm.openRTCP(b, known)
	switch {
	case err != nil:
		return nil, err
	case known != nil:
		known.accept(index)
	default:
		m.keep(s, ssrc).rtcp = newWindow(index)
	}
	return packet, nil
}
