package transport

import (
	"errors"
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
	// rtpTrailer and rtcpTrailer are what encryption adds at most, in bytes: a
	// tag, and for RTCP an index.
	rtpTrailer  = 16
	rtcpTrailer = 20
)

// errUsedUp: so many packets were sealed that a number would come again.
var errUsedUp = errors.New("the keys of the media transport are used up")

// media is the SRTP state of a peer that is up, both directions. It belongs to
// the peer's owner.
type media struct {
	gcm     *gcm // AES-GCM, which every browser takes; nil: cm
	cm      *cm
	sources []source // SSRCs that have decrypted
}

// cm is AES-CM with HMAC-SHA1 (RFC 3711), which is pion's.
type cm struct {
	out     *srtp.Context
	outRTP  rtp.Header // scratch, as those below
	outRTCP rtcp.Header

	in     *srtp.Context
	inRTP  rtp.Header
	inRTCP rtcp.Header
}

// A source's RTP and its RTCP have numbers, and windows, of their own.
const (
	streamRTP = iota
	streamRTCP
	streams
)

// source is an incoming SSRC. The windows are nil until something decrypted, and
// with cm, which has its own.
type source struct {
	ssrc uint32
	came [streams]*window
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
	m, err := mediaOf(c.Profile, c.Keys)
	if err != nil {
		return nil, fmt.Errorf("%w: couldn't set up SRTP: %w", ErrHandshake, err)
	}
	return m, nil
}

// mediaOf sets up a profile with its master keys.
func mediaOf(profile srtp.ProtectionProfile, k srtp.SessionKeys) (*media, error) {
	m := new(media)
	var err error
	switch profile {
	case srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAeadAes256Gcm:
		m.gcm, err = newGCM(k)
	default:
		m.cm, err = newCM(profile, k)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

func newCM(profile srtp.ProtectionProfile, k srtp.SessionKeys) (*cm, error) {
	c := new(cm)
	var err error
	if c.out, err = srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, profile); err != nil {
		return nil, err
	}
	c.in, err = srtp.CreateContext(k.RemoteMasterKey, k.RemoteMasterSalt, profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	return c, err
}

// open decrypts a packet of that stream in place.
func (c *cm) open(b []byte, stream int) ([]byte, error) {
	if stream == streamRTCP {
		return c.in.DecryptRTCP(b, b, &c.inRTCP)
	}
	return c.in.DecryptRTP(b, b, &c.inRTP)
}

// from finds an incoming SSRC's state. A new one has none yet: that is made when
// it has proved its key (keep).
func (m *media) from(ssrc uint32) (*source, error) {
	for i := range m.sources {
		if m.sources[i].ssrc == ssrc {
			return &m.sources[i], nil
		}
	}
	if len(m.sources) >= maxSources {
		return nil, ErrTooManySources
	}
	return nil, nil
}

// keep remembers the SSRC of a packet that has decrypted.
func (m *media) keep(s *source, ssrc uint32) *source {
	if s != nil {
		return s
	}
	m.sources = append(m.sources, source{ssrc: ssrc})
	return &m.sources[len(m.sources)-1]
}
