package transport

import (
	"encoding/binary"
	"slices"
)

// Unprotect checks and decrypts d in place and says whether it is RTCP. The
// packet lies within d.Data and lives until d is freed. Repeated and forged
// packets are errors. Only the peer's owner may call it.
func (p *Peer) Unprotect(d *Datagram) (packet []byte, rtcp bool, err error) {
	m := p.media.Load()
	if m == nil {
		return nil, false, ErrNotUp
	}
	if len(d.Data) < 12 {
		return nil, false, ErrMalformed
	}
	rtcp = isRTCP(d.Data)
	if rtcp {
		packet, err = m.unprotectRTCP(d.Data)
	} else {
		packet, err = m.unprotectRTP(d.Data)
	}
	if err != nil {
		p.endpoint.stats.drop(unverified)
		return nil, rtcp, err
	}
	p.seen.Store(p.endpoint.since(d.At))
	return packet, rtcp, nil
}

// isRTCP tells the two apart by the packet type (RFC 5761 §4).
func isRTCP(b []byte) bool { return b[1] >= 192 && b[1] <= 223 }

func (m *media) unprotectRTP(b []byte) ([]byte, error) {
	ssrc := binary.BigEndian.Uint32(b[8:])
	known, err := m.knows(ssrc)
	if err != nil {
		return nil, err
	}
	packet, err := m.in.DecryptRTP(b, b, &m.inRTP)
	if err == nil && !known {
		m.sources = append(m.sources, ssrc)
	}
	return packet, err
}

func (m *media) unprotectRTCP(b []byte) ([]byte, error) {
	ssrc := binary.BigEndian.Uint32(b[4:])
	known, err := m.knows(ssrc)
	if err != nil {
		return nil, err
	}
	packet, err := m.in.DecryptRTCP(b, b, &m.inRTCP)
	if err == nil && !known {
		m.sources = append(m.sources, ssrc)
	}
	return packet, err
}

// knows says whether ssrc has sent before; a client that has used up its SSRCs
// gets no state for another.
func (m *media) knows(ssrc uint32) (bool, error) {
	if slices.Contains(m.sources, ssrc) {
		return true, nil
	}
	if len(m.sources) >= maxSources {
		return false, ErrTooManySources
	}
	return false, nil
}
