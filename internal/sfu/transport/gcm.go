package transport

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/pion/srtp/v3"
)

// SRTP and SRTCP with AES-GCM (RFC 7714), in place and without allocating:
//
//	RTP   header │ encrypted payload │ tag                        header is authenticated too
//	RTCP  8 bytes │ encrypted rest │ tag │ E, 31-bit index        the 8 bytes and the index too
//
// The nonce is made of SSRC and packet index. Whoever lets it come twice with
// different contents gives the key away, so indices only ever grow.

const (
	gcmTag = 16
	// maxIndex is the last index of an RTP source: 2^48 packets per key (RFC 3711
	// §9.2).
	maxIndex = 1<<48 - 1
	// controlHead is the part of an RTCP packet that stays in the clear.
	controlHead  = 8
	controlIndex = 4
	// maxControl is the last SRTCP index, and encrypted the flag before it.
	maxControl = 1<<31 - 1
	encrypted  = 1 << 31
)

// The labels of the session keys (RFC 3711 §4.3.2).
const (
	labelRTPKey   = 0
	labelRTPSalt  = 2
	labelRTCPKey  = 3
	labelRTCPSalt = 5
)

// gcm is the state of both directions.
type gcm struct {
	rtpOut, rtcpOut, rtpIn, rtcpIn session

	sent    map[uint32]*counter // by SSRC; never forgotten: one that comes back must go on counting
	last    *counter            // the one used last, nil at first
	control uint32              // index of the last SRTCP packet sent; all SSRCs share it

	// Scratch: on the stack they would escape.
	iv  [12]byte
	aad [controlHead + controlIndex]byte
	tag [gcmTag]byte
}

// counter counts the packets of one outgoing SSRC.
type counter struct {
	ssrc  uint32
	index uint64 // highest so far: rollover counter and sequence number
}

// session is a session key with its salt, of which there are 12 bytes.
type session struct {
	aead     cipher.AEAD
	saltHead uint64
	saltTail uint32
}

func newGCM(k srtp.SessionKeys) (*gcm, error) {
	g := new(gcm)
	for _, s := range []struct {
		session         *session
		key, salt       []byte
		keyLabel, label byte
	}{
		{&g.rtpOut, k.LocalMasterKey, k.LocalMasterSalt, labelRTPKey, labelRTPSalt},
		{&g.rtcpOut, k.LocalMasterKey, k.LocalMasterSalt, labelRTCPKey, labelRTCPSalt},
		{&g.rtpIn, k.RemoteMasterKey, k.RemoteMasterSalt, labelRTPKey, labelRTPSalt},
		{&g.rtcpIn, k.RemoteMasterKey, k.RemoteMasterSalt, labelRTCPKey, labelRTCPSalt},
	} {
		if err := s.session.derive(s.key, s.salt, s.keyLabel, s.label); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// derive makes the session from the master key and salt.
func (s *session) derive(key, salt []byte, keyLabel, saltLabel byte) error {
	if len(salt) != 12 {
		return fmt.Errorf("a master salt of %d bytes", len(salt))
	}
	master, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(deriveKey(master, salt, keyLabel, len(key)))
	if err != nil {
		return err
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return err
	}
	derived := deriveKey(master, salt, saltLabel, len(salt))
	s.saltHead, s.saltTail = binary.BigEndian.Uint64(derived), binary.BigEndian.Uint32(derived[8:])
	return nil
}

// deriveKey is the key derivation of RFC 3711 §4.3 with a derivation rate of 0.
func deriveKey(master cipher.Block, salt []byte, label byte, n int) []byte {
	var in [aes.BlockSize]byte
	copy(in[:14], salt)
	in[7] ^= label
	out := make([]byte, (n+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	for i := 0; i < len(out); i += aes.BlockSize {
		binary.BigEndian.PutUint16(in[14:], uint16(i/aes.BlockSize))
		master.Encrypt(out[i:], in[:])
	}
	return out[:n]
}

// nonce is RFC 7714 §8.1 and §9.1: two bytes of zeros, the SSRC, and the index in
// six bytes, over the salt.
func (s *session) nonce(iv *[12]byte, ssrc uint32, index uint64) []byte {
	binary.BigEndian.PutUint64(iv[:], s.saltHead^(uint64(ssrc)<<16|index>>32))
	binary.BigEndian.PutUint32(iv[8:], s.saltTail^uint32(index))
	return iv[:]
}

// count is the index for an outgoing packet (RFC 3711 §3.3.1). It refuses what
// lies before the first packet: its nonce would be used again a round later.
func (g *gcm) count(ssrc uint32, seq uint16) (uint64, error) {
	c := g.last
	if c == nil || c.ssrc != ssrc {
		if c = g.sent[ssrc]; c == nil {
			if g.sent == nil {
				g.sent = map[uint32]*counter{}
			}
			c = &counter{ssrc, uint64(seq)}
			g.sent[ssrc] = c
		}
		g.last = c
	}
	index := int64(c.index) + int64(int16(seq-uint16(c.index)))
	switch {
	case index < 0:
		return 0, ErrMalformed
	case index > maxIndex:
		return 0, errUsedUp
	}
	c.index = max(c.index, uint64(index))
	return uint64(index), nil
}

// sealRTP writes the encrypted payload and the tag behind the header of that
// length that is in dst. The payload may lie where the ciphertext goes.
func (g *gcm) sealRTP(dst []byte, header int, payload []byte) error {
	ssrc := binary.BigEndian.Uint32(dst[8:])
	index, err := g.count(ssrc, binary.BigEndian.Uint16(dst[2:]))
	if err != nil {
		return err
	}
	g.rtpOut.aead.Seal(dst[header:header], g.rtpOut.nonce(&g.iv, ssrc, index), payload, dst[:header])
	return nil
}

// sealRTCP writes a protected packet to dst, which has room for it, and returns
// its size. The SSRCs of a client's RTCP share one row of indices: each of them
// sees a growing one, with holes as after a loss, and none can come twice.
func (g *gcm) sealRTCP(dst, packet []byte) (int, error) {
	if g.control == maxControl {
		return 0, errUsedUp
	}
	g.control++
	ssrc := binary.BigEndian.Uint32(packet[4:])
	copy(g.aad[:], packet[:controlHead])
	binary.BigEndian.PutUint32(g.aad[controlHead:], encrypted|g.control)
	copy(dst, packet[:controlHead])
	g.rtcpOut.aead.Seal(dst[controlHead:controlHead], g.rtcpOut.nonce(&g.iv, ssrc, uint64(g.control)), packet[controlHead:], g.aad[:])
	n := len(packet) + gcmTag
	copy(dst[n:], g.aad[controlHead:])
	return n + controlIndex, nil
}

// open is openRTP or openRTCP.
func (g *gcm) open(b []byte, stream int, known *window) ([]byte, uint64, error) {
	if stream == streamRTCP {
		return g.openRTCP(b, known)
	}
	return g.openRTP(b, known)
}

// openRTP decrypts b in place. known is the window of its source, nil when that
// has sent nothing yet. It returns the packet and its index.
func (g *gcm) openRTP(b []byte, known *window) ([]byte, uint64, error) {
	header := headerSize(b)
	if header < 0 || len(b) < header+gcmTag {
		return nil, 0, ErrMalformed
	}
	ssrc, seq := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
	index := uint64(seq)
	if known != nil {
		index = estimate(known.highest, seq)
	}
	if index > maxIndex || known != nil && !known.fresh(index) {
		return nil, 0, errReplayed
	}
	iv := g.rtpIn.nonce(&g.iv, ssrc, index)
	if _, err := g.rtpIn.aead.Open(b[header:header], iv, b[header:], b[:header]); err != nil {
		return nil, 0, errForged
	}
	return b[:len(b)-gcmTag], index, nil
}

// headerSize is the length of the header of an RTP packet, which has 12 bytes at
// least; -1 when it is longer than the packet.
func headerSize(b []byte) int {
	n := 12 + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return -1
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	if len(b) < n {
		return -1
	}
	return n
}

// openRTCP is openRTP for RTCP. A client may also send it authenticated but not
// encrypted; then the tag is over everything, the index included.
func (g *gcm) openRTCP(b []byte, known *window) ([]byte, uint64, error) {
	end := len(b) - controlIndex // of the tag
	if end < controlHead+gcmTag {
		return nil, 0, ErrMalformed
	}
	word := binary.BigEndian.Uint32(b[end:])
	ssrc, index := binary.BigEndian.Uint32(b[4:]), uint64(word&maxControl)
	if known != nil && !known.fresh(index) {
		return nil, 0, errReplayed
	}
	iv := g.rtcpIn.nonce(&g.iv, ssrc, index)
	packet := b[: end-gcmTag : end]
	var err error
	if word&encrypted != 0 {
		copy(g.aad[:], b[:controlHead])
		copy(g.aad[controlHead:], b[end:])
		_, err = g.rtcpIn.aead.Open(b[controlHead:controlHead], iv, b[controlHead:end], g.aad[:])
	} else {
		copy(g.tag[:], b[end-gcmTag:])
		copy(b[end-gcmTag:], b[end:]) // so that packet and index stand side by side
		_, err = g.rtcpIn.aead.Open(g.tag[:0], iv, g.tag[:], b[:end-gcmTag+controlIndex])
	}
	if err != nil {
		return nil, 0, errForged
	}
	return packet, index, nil
}
