package transport

import "github.com/pion/srtp/v3"

// Media is a peer's SRTP state without a network.
type Media struct{ m *media }

// NewMedia sets up a profile with its master keys.
func NewMedia(profile srtp.ProtectionProfile, k srtp.SessionKeys) (Media, error) {
	m, err := mediaOf(profile, k)
	return Media{m}, err
}

// SealRTP writes a protected packet to dst, which has room for it.
func (m Media) SealRTP(dst, header, payload []byte, padding int) ([]byte, error) {
	n, err := m.m.sealRTP(dst[:len(header)+len(payload)+padding+rtpTrailer], header, payload, padding)
	if err != nil {
		return nil, err
	}
	return dst[:n], nil
}

// SealRTCP is SealRTP for RTCP.
func (m Media) SealRTCP(dst, packet []byte) ([]byte, error) {
	n, err := m.m.sealRTCP(dst[:len(packet)+rtcpTrailer], packet)
	if err != nil {
		return nil, err
	}
	return dst[:n], nil
}

// Open decrypts an SRTP or SRTCP packet of 12 bytes or more in place.
func (m Media) Open(b []byte) (packet []byte, rtcp bool, err error) { return m.m.open(b) }

// SetControlIndex makes n the index of the last SRTCP packet sent.
func (m Media) SetControlIndex(n uint32) { m.m.gcm.control = n }

// SetIndex makes n the highest index of an SSRC sent.
func (m Media) SetIndex(ssrc uint32, n uint64) {
	_, _ = m.m.gcm.count(ssrc, 0)
	m.m.gcm.sent[ssrc].index = n
}
