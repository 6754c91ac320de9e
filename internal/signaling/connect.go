package signaling

import (
	"encoding/json"
	"strings"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Connect is what a client asks for when it comes in, in either dialect.
type Connect struct {
	Dialect2015 bool
	Role        tenant.Role
	Channel     string // perhaps with an @TENANT_ID suffix
	Token       any    // as received; nil: none
	ClientID    string // "": none asked for
	BundleID    string // likewise
	Audio       sfu.MediaWish
	Video       sfu.MediaWish
	AnyCodec    bool // the client's answer chooses the upload's codec
	Slots       bool // one fixed download section of each kind, no renegotiation
	Simulcast   SimulcastWish
	Spotlight   SpotlightWish
	// DataChannelSignaling asks to signal over DataChannels, and
	// IgnoreDisconnectWebSocket to leave the WebSocket once it does; nil: the
	// client did not say, or has no word for it.
	DataChannelSignaling, IgnoreDisconnectWebSocket *bool
	DataChannels                                    []tenant.DataChannel // for messages; only beside signalling over DataChannels
	RPCMethods                                      []string             // what it may call; its tenant's word alone
	NoStats                                         bool                 // it is not asked for statistics; likewise
	// Metadata is shown to the others in the channel. Of what the client says
	// itself it has only Authn.
	Metadata sfu.Metadata
	NoNotify bool // it is told of nobody
	// Redirected: another node sent it here, so it is not sent on. Channels may move
	// between two looks, and clients follow for ever.
	Redirected bool
	// Filters say what it wants to be forwarded.
	Filters []tenant.ForwardingFilter
	Said    Said
}

// parseConnect reads a connect message and tells the dialects apart: that of
// 2015 writes the channel's name in camel case and speaks of streams, not of
// sending. Where the token stands tells nothing: clients of today's dialect may
// put it into accessToken, too.
func parseConnect(f fields, limits Limits) (*Connect, error) {
	word := f.Text("role")
	if word == "" {
		f.Fail("role", "is missing: want sendonly, recvonly or sendrecv")
		return nil, mistake(f)
	}
	role, err := tenant.ParseRole(word)
	if err != nil {
		return nil, bad("%s", err)
	}
	c := &Connect{
		Dialect2015: f.Has("channelId") || word == "upstream" || word == "downstream",
		Role:        role,
		Channel:     oneName(f, "channel_id", "channelId"),
		Token:       findToken(f),
		Said:        readSaid(f, "metadata", "sora_client"),
	}
	if c.Dialect2015 {
		c.read2015(f)
	} else {
		c.readToday(f, limits)
	}
	if err := mistake(f); err != nil {
		return nil, err
	}
	if mute := c.DataChannelSignaling == nil || !*c.DataChannelSignaling; mute && len(c.DataChannels) == 0 && c.hopeless() {
		return nil, bad("audio and video are both false: one is needed, or data_channel_signaling")
	}
	return c, nil
}

// oneName returns the name in whichever of two fields is there.
func oneName(f fields, today, old string) string {
	a, b := channelName(f, today), channelName(f, old)
	switch {
	case f.Err() != nil:
		return ""
	case a == "" && b == "":
		f.Fail(today, "is missing")
	case a != "" && b != "" && a != b:
		f.Fail(today, "and "+old+" differ")
	}
	return firstOf(a, b)
}

// channelName returns a channel's name, which may be longer than others by the
// suffix that says whose it is; the door checks it again without.
func channelName(f fields, name string) string {
	if f.Raw(name) == nil {
		return ""
	}
	s := f.Text(name)
	if err := checkChannel(name, s); err != nil {
		f.Stop(err)
	}
	return s
}

// checkChannel says what is wrong with a channel's name, suffix and all.
func checkChannel(field, s string) error {
	base := s
	if i := strings.LastIndex(s, "@ten_"); i > 0 {
		base = s[:i]
	}
	if err := tenant.CheckName(field, base); err != nil {
		return err
	}
	return tenant.CheckName(field, s[len(base):]+".")
}

// findToken returns the access token from the places where clients put it:
// Sora's SDKs in metadata, the 2015 dialect beside the channel.
func findToken(f fields) any {
	places := []fields{f}
	if metadata, ok := tenant.ReadFields(f.Raw("metadata")); ok {
		places = append(places, metadata)
	}
	for _, place := range places {
		for _, name := range []string{"access_token", "accessToken"} {
			if raw := place.Raw(name); raw != nil {
				var token any
				if json.Unmarshal(raw, &token) == nil {
					return token
				}
			}
		}
	}
	return nil
}

// read2015 reads what only the dialect of 2015 says. Its clients know one
// offer and one answer, unless they ask for multistream.
func (c *Connect) read2015(f fields) {
	multistream := f.Flag("multistream", false)
	c.AnyCodec = c.Role.Sends()
	c.Slots = c.Role.Receives() && !multistream
	c.Audio = readAudio(f)
	c.Video = readVideo(f)
	if codec := tenant.ReadVideoCodec(f, "codecType"); codec != "" {
		c.Video.Codec = codec
	}
}

// readToday reads and checks a connect of today's Sora SDKs (its fields are
// listed in docs of Sora's signalling). What this platform decides against,
// such as DataChannel signalling, is checked all the same and answered false in the offer.
func (c *Connect) readToday(f fields, limits Limits) {
	c.ClientID = f.Name("client_id")
	c.BundleID = f.Name("bundle_id")
	c.Audio = readAudio(f)
	c.Video = readVideo(f)
	if c.Audio.Codec == "" {
		c.Audio.Codec = "OPUS"
	}
	if c.Video.Codec == "" {
		c.Video.Codec = "VP9"
	}
	if !f.Flag("multistream", true) {
		f.Fail("multistream", "can't be false any more; leave it out")
	}
	c.Simulcast = readSimulcast(f, c.Video.Enabled)
	c.Spotlight = readSpotlight(f)
	c.Redirected = f.Flag("redirect", false)
	c.DataChannelSignaling = f.Switch("data_channel_signaling")
	c.IgnoreDisconnectWebSocket = f.Switch("ignore_disconnect_websocket")
	if c.DataChannels = tenant.ReadDataChannels(f); len(c.DataChannels) > 0 && !f.Flag("data_channel_signaling", true) {
		f.Fail("data_channels", "need data_channel_signaling")
	}
	c.Filters = tenant.ReadForwardingFilters(f)
	c.Metadata.Authn = f.Raw("signaling_notify_metadata")
	if len(c.Metadata.Authn) > limits.NotifyMetadataBytes {
		f.Stop(tenant.Refuse(tenant.TooLarge, "signaling_notify_metadata may have at most %d bytes", limits.NotifyMetadataBytes))
	}
}
