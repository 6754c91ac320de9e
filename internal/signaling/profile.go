package signaling

import "github.com/hibari/hibari/internal/tenant"

// profile is how the visitor signals and what it was granted, for the lists of the
// tenant's server. id is its connection's.
func (v visitor) profile(id string) tenant.Profile {
	p := tenant.Profile{
		BundleID: firstOf(v.BundleID, id), Audio: v.Audio.Enabled, Video: v.Video.Enabled,
		Simulcast: v.Simulcast.On && v.Video.Enabled, Spotlight: v.Spotlight.On,
		DataChannelSignaling: isTrue(v.DataChannelSignaling),
	}
	p.IgnoreDisconnectWebSocket = p.DataChannelSignaling && isTrue(v.IgnoreDisconnectWebSocket)
	if p.Audio {
		p.AudioCodec, p.AudioBitRate = v.Audio.Codec, v.Audio.BitRate
	}
	if p.Video {
		p.VideoCodec, p.VideoBitRate = v.Video.Codec, v.Video.BitRate
	}
	return p
}
