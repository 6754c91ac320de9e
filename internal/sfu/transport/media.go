package transport

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

const (
	// replayWindow is how far behind the newest packet one may arrive.
	replayWindow = 1024
	// maxSources bounds the SSRCs a client may send, each of which costs state.
	maxSources = 128
	// gcmTag and rtcpTrailer are what encryption adds, in bytes; the latter is
	// the largest of all profiles (tag and index).
	gcmTag      = 16
	rtpTrailer  = 16
	rtcpTrailer = 20
)

// media is the SRTP state of a peer that is up, both directions. It belongs to
// the peer's owner.
type media struct {
	// Outwards. RTP is sealed by gcm where the profile allows, else by out; RTCP
	// always by out. The two never share a key.
	gcm     *gcm
	out     *srtp.Context
	outRTP  rtp.Header
	outRTCP rtcp.Header

	// Inwards.
	in      *srtp.Context
	inRTP   rtp.Header
	inRTCP  rtcp.Header
	sources []uint32 // SSRCs that have decrypted
}

// newMedia derives the keys from a finished handshake (RFC 5764 §4.2).
func newMedia(conn *dtls.Conn, weAreClient bool) (*media, error) {
	chosen, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, fmt.Errorf("%w: %w", ErrHandshake, ErrNoSRTP)
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return nil, fmt.Errorf("%w: no connection state", ErrHandshake)
	}
	c := srtp.Config{Profile: srtp.ProtectionProfile(chosen)}
	if err := c.ExtractSessionKeysFromDTLS(&state, weAreClient); err != nil {
		return nil, fmt.Errorf("%w: couldn't derive the SRTP keys: %w", ErrHandshake, err)
	}
	m := new(media)
	var err error
	if m.out, err = srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Profile); err != nil {
		return nil, fmt.Errorf("%w: couldn't set up SRTP: %w", ErrHandshake, err)
	}
	m.in, err = srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return nil, fmt.Errorf("%w: couldn't set up SRTP: %w", ErrHandshake, err)
	}
	switch c.Profile {
	case srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAeadAes256Gcm:
		if m.gcm, err = newGCM(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt); err != nil {
			return nil, fmt.Errorf("%w: couldn't set up SRTP: %w", ErrHandshake, err)
		}
	}
	return m, nil
}

// gcm seals RTP with AES-GCM (RFC 7714) without copying the payload first.
type gcm struct {
	aead    cipher.AEAD
	salt    [12]byte
	iv      [12]byte           // scratch
	sources map[uint32]*source // never forgotten: an SSRC that comes back must go on counting
	last    *source            // the one used last, nil at first
}

// source counts the packets of one outgoing SSRC.
type source struct {
	ssrc  uint32
	index uint64 // highest so far: rollover counter and sequence number
}

func newGCM(masterKey, masterSalt []byte) (*gcm, error) {
	key, err := deriveKey(0, masterKey, masterSalt, len(masterKey))
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	salt, err := deriveKey(2, masterKey, masterSalt, len(masterSalt))
	if err != nil {
		return nil, err
	}
	g := &gcm{aead: aead, sources: map[uint32]*source{}}
	copy(g.salt[:], salt)
	return g, nil
}

// deriveKey is the key derivation of RFC 3711 §4.3 with a derivation rate of 0:
// label 0 is the SRTP encryption key, 2 the SRTP salt.
func deriveKey(label byte, key, salt []byte, n int) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	var in [aes.BlockSize]byte
	copy(in[:14], salt)
	in[7] ^= label
	out := make([]byte, (n+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	for i := 0; i < len(out); i += aes.BlockSize {
		binary.BigEndian.PutUint16(in[14:], uint16(i/aes.BlockSize))
		block.Encrypt(out[i:], in[:])
	}
	return out[:n], nil
}

// rollover returns the rollover counter for a packet and moves the source's
// index (RFC 3711 §3.3.1). It refuses what lies before the first packet: its
// nonce would be used again a round later.
func (g *gcm) rollover(ssrc uint32, seq uint16) (uint32, error) {
	s := g.last
	if s == nil || s.ssrc != ssrc {
		if s = g.sources[ssrc]; s == nil {
			s = &source{ssrc: ssrc, index: uint64(seq)}
			g.sources[ssrc] = s
		}
		g.last = s
	}
	index := int64(s.index) + int64(int16(seq-uint16(s.index)))
	if index < 0 {
		return 0, ErrMalformed
	}
	s.index = max(s.index, uint64(index))
	return uint32(index >> 16), nil
}

// nonce is RFC 7714 §8.1.
func (g *gcm) nonce(ssrc, roc uint32, seq uint16) []byte {
	iv := g.iv[:]
	iv[0], iv[1] = 0, 0
	binary.BigEndian.PutUint32(iv[2:], ssrc)
	binary.BigEndian.PutUint32(iv[6:], roc)
	binary.BigEndian.PutUint16(iv[10:], seq)
	for i := range iv {
		iv[i] ^= g.salt[i]
	}
	return iv
}
