package signaling

import (
	"cmp"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// granted lays over what the client asked for what its tenant decided: that wins.
// It is laid once, over the client's own words.
func (c *Connect) granted(g tenant.Grant) {
	c.ClientID = firstOf(g.ClientID, c.ClientID)
	c.BundleID = firstOf(g.BundleID, c.BundleID)
	c.grantedAudio(g)
	c.grantedVideo(g)
	c.Simulcast.granted(g)
	c.Spotlight.granted(g)
	c.Spotlight.imply(&c.Simulcast)
	c.Metadata.Authz = g.SignalingNotifyMetadata
	c.Metadata.Ext = g.SignalingNotifyMetadataExt
	c.NoNotify = c.NoNotify || g.SignalingNotify != nil && !*g.SignalingNotify
	if c.DataChannelSignaling != nil { // its dialect has them
		c.DataChannelSignaling = cmp.Or(g.DataChannelSignaling, c.DataChannelSignaling)
		c.IgnoreDisconnectWebSocket = cmp.Or(g.IgnoreDisconnectWebSocket, c.IgnoreDisconnectWebSocket)
		c.RPCMethods = callable(g.RPCMethods)
		if g.DataChannels != nil {
			c.DataChannels = g.DataChannels
		}
	}
	c.NoStats = g.RTCStats != nil && !*g.RTCStats
	if g.ForwardingFilters != nil {
		c.Filters = g.ForwardingFilters
	}
}

func (c *Connect) grantedAudio(g tenant.Grant) {
	grantedMedia(&c.Audio, g.Audio, g.AudioCodec, g.AudioBitRate)
	if g.AudioOpusParams != nil {
		c.Audio.Params = g.AudioOpusParams.FMTP()
	}
}

func (c *Connect) grantedVideo(g tenant.Grant) {
	asked := c.Video.Codec
	grantedMedia(&c.Video, g.Video, g.VideoCodec, g.VideoBitRate)
	if c.Video.Codec != asked {
		c.Video.Params = nil // they were the other codec's
	}
	if params := videoParams(c.Video.Codec, g.VideoVP9Params, g.VideoAV1Params, g.VideoH264Params); params != nil {
		c.Video.Params = params
	}
}

// grantedMedia lays what is granted of one kind over a wish.
func grantedMedia(wish *sfu.MediaWish, on *bool, codec string, kbit int) {
	if on != nil {
		wish.Enabled = *on
	}
	wish.Codec = firstOf(codec, wish.Codec)
	if kbit != 0 {
		wish.BitRate = kbit
	}
}

// wish puts what the client asks for into the words of a grant.
func (c *Connect) wish() tenant.Grant {
	return tenant.Grant{
		ClientID: c.ClientID, BundleID: c.BundleID,
		Audio: new(c.Audio.Enabled), AudioCodec: c.Audio.Codec, AudioBitRate: c.Audio.BitRate,
		Video: new(c.Video.Enabled), VideoCodec: c.Video.Codec, VideoBitRate: c.Video.BitRate,
		Simulcast: new(c.Simulcast.On), SimulcastRequestRID: c.Simulcast.RequestRID,
		Spotlight: new(c.Spotlight.On), SpotlightNumber: c.Spotlight.Number,
		SpotlightFocusRID: c.Spotlight.FocusRID, SpotlightUnfocusRID: c.Spotlight.UnfocusRID,
		DataChannelSignaling: c.DataChannelSignaling, IgnoreDisconnectWebSocket: c.IgnoreDisconnectWebSocket,
		ForwardingFilters: c.Filters, SignalingNotifyMetadata: c.Metadata.Authn, DataChannels: c.DataChannels,
	}
}

// hopeless reports whether nothing is left that the client could be here for.
func (c *Connect) hopeless() bool {
	messages := isTrue(c.DataChannelSignaling) && len(c.DataChannels) > 0
	return !c.Audio.Enabled && !c.Video.Enabled && !messages
}

// lifetime is how long a connection may last: as the shorter of what the token
// and the grant say; 0: as long as it likes.
func lifetime(claim tenant.Claim) time.Duration {
	granted := time.Duration(claim.Grant.ConnectionLifetime) * time.Second
	if claim.MaxDuration == 0 || granted > 0 && granted < claim.MaxDuration {
		return granted
	}
	return claim.MaxDuration
}
