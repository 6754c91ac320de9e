package transport

import "github.com/pion/dtls/v3"

// Profile names an SRTP protection profile as its registry at IANA does. It
// doubles as a metric label.
type Profile string

// The profiles that are agreed to.
const (
	ProfileGCM128 Profile = "SRTP_AEAD_AES_128_GCM"
	ProfileGCM256 Profile = "SRTP_AEAD_AES_256_GCM"
	ProfileCM     Profile = "SRTP_AES128_CM_HMAC_SHA1_80"
)

// profiles is our order of them, which decides when we are the server: AES-GCM
// costs a sixth of AES-CM here. The index is the counter's.
var profiles = [...]struct {
	name Profile
	id   dtls.SRTPProtectionProfile
}{
	{ProfileGCM128, dtls.SRTP_AEAD_AES_128_GCM},
	{ProfileGCM256, dtls.SRTP_AEAD_AES_256_GCM},
	{ProfileCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80},
}

// withProfiles offers, or agrees to, what is known here.
func withProfiles() dtls.Option {
	ids := make([]dtls.SRTPProtectionProfile, len(profiles))
	for i, p := range profiles {
		ids[i] = p.id
	}
	return dtls.WithSRTPProtectionProfiles(ids...)
}

// shook counts a handshake that succeeded.
func (c *counters) shook(conn *dtls.Conn) {
	chosen, _ := conn.SelectedSRTPProtectionProfile()
	for i, p := range profiles {
		if p.id == chosen {
			c.handshakes[i].Add(1)
		}
	}
}
