package signaling

import (
	"encoding/json"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// today is the signalling of today's Sora SDKs, written from their side: every
// field that one of them insists on is there, read or not by the others.
type today struct{}

// offerToday is the offer. What is false in it was decided so by this server,
// whatever the client asked for.
type offerToday struct {
	Type                      string            `json:"type"`
	Version                   string            `json:"version"`
	ChannelID                 string            `json:"channel_id"`
	SessionID                 string            `json:"session_id"`
	ConnectionID              string            `json:"connection_id"`
	ClientID                  string            `json:"client_id"`
	BundleID                  string            `json:"bundle_id"`
	Simulcast                 bool              `json:"simulcast"`
	SimulcastMulticodec       bool              `json:"simulcast_multicodec"`
	Encodings                 []tenant.Encoding `json:"encodings,omitempty"`
	Spotlight                 bool              `json:"spotlight"`
	Audio                     bool              `json:"audio"`
	AudioCodecType            string            `json:"audio_codec_type,omitempty"`
	AudioBitRate              int               `json:"audio_bit_rate,omitempty"`
	Video                     bool              `json:"video"`
	VideoCodecType            string            `json:"video_codec_type,omitempty"`
	VideoBitRate              int               `json:"video_bit_rate,omitempty"`
	DataChannelSignaling      bool              `json:"data_channel_signaling"`
	IgnoreDisconnectWebSocket bool              `json:"ignore_disconnect_websocket"`
	DataChannels              []offeredChannel  `json:"data_channels,omitempty"`
	RPCMethods                []string          `json:"rpc_methods,omitempty"`
	Config                    iceConfig         `json:"config"`
	MID                       mids              `json:"mid"`
	SDP                       string            `json:"sdp"`
	Metadata                  json.RawMessage   `json:"metadata"`
}

// iceConfig becomes the client's RTCConfiguration. The SDP has every candidate
// of an ICE-lite server, so no ICE servers are needed.
type iceConfig struct {
	ICEServers         []struct{} `json:"iceServers"`
	ICETransportPolicy string     `json:"iceTransportPolicy"`
}

// mids name the upload sections of the offer.
type mids struct {
	Audio string `json:"audio,omitempty"`
	Video string `json:"video,omitempty"`
}

// offeredChannel is a DataChannel of an offer; its direction is the client's.
type offeredChannel struct {
	Label     string      `json:"label"`
	Direction tenant.Role `json:"direction"`
	Compress  bool        `json:"compress"`
	Header    []header    `json:"header,omitempty"`
}

// header stands before what a client receives on a messaging channel.
type header struct {
	Type   string `json:"type"`
	Length int    `json:"length"` // bytes
}

// senderHeader is the one header there is: the connection id of the sender.
var senderHeader = header{"sender_connection_id", len(tenant.NewID())}

func offered(channel sfu.DataChannel) offeredChannel {
	o := offeredChannel{Label: channel.Label, Direction: channel.Direction, Compress: channel.Compress}
	if channel.SenderHeader {
		o.Header = []header{senderHeader}
	}
	return o
}

// reOffer is an offer to a client that has answered one before.
type reOffer struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// A ping is answered by a pong, with statistics if asked.
var (
	plainPing    = makeFrame(finalText, `{"type":"ping","stats":false}`)
	pingForStats = makeFrame(finalText, `{"type":"ping","stats":true}`)
)

// push carries JSON of the tenant's server to its client.
type push struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// notify tells that a connection came, went, or has been there for another
// minute.
type notify struct {
	event
	Role         tenant.Role `json:"role"`
	SessionID    string      `json:"session_id"`
	ClientID     string      `json:"client_id"`
	BundleID     string      `json:"bundle_id"`
	ConnectionID string      `json:"connection_id"`
	Audio        bool        `json:"audio"`
	Video        bool        `json:"video"`
	metadata
	Minutes           int    `json:"minutes"`
	tenant.Counts            // "channel_connections" and so on
	TURNTransportType string `json:"turn_transport_type"`

	self   bool         // it tells the client of its own coming
	others []*sfu.Other // "data", then: who was there before
}

// notified is somebody who was there before.
type notified struct {
	ClientID     string `json:"client_id"`
	BundleID     string `json:"bundle_id"`
	ConnectionID string `json:"connection_id"`
	metadata
}

// metadata is a connection's in notifications; what is nil is left out.
type metadata struct {
	Authn  json.RawMessage `json:"authn_metadata,omitempty"`
	Authz  json.RawMessage `json:"authz_metadata,omitempty"`
	Merged json.RawMessage `json:"metadata,omitempty"`
}

func metadataOf(m *sfu.Metadata) metadata { return metadata{m.Authn, m.Authz, m.Merged()} }

func (today) protocol() string { return "sora" }

func (today) framed() bool { return false }

func (today) ping(stats bool) []byte {
	if stats {
		return pingForStats
	}
	return plainPing
}

func (today) offer(c *call, version string) any {
	r := c.request
	o := offerToday{
		Type: typeOffer, Version: version,
		ChannelID: c.channel, SessionID: r.SessionID, ConnectionID: r.ConnectionID,
		ClientID: r.ClientID, BundleID: r.BundleID,
		Simulcast: c.simulcast, Encodings: c.encodings, Spotlight: r.Spotlight != nil,
		Audio: r.Audio.Enabled, Video: r.Video.Enabled,
		Config:   iceConfig{ICEServers: []struct{}{}, ICETransportPolicy: "all"},
		Metadata: c.metadata,
	}
	if r.Audio.Enabled {
		o.AudioCodecType, o.AudioBitRate = r.Audio.Codec, r.Audio.BitRate
	}
	if r.Video.Enabled {
		o.VideoCodecType, o.VideoBitRate = r.Video.Codec, r.Video.BitRate
	}
	o.DataChannelSignaling, o.IgnoreDisconnectWebSocket, o.RPCMethods = c.channels, c.leaves, c.methods
	for _, channel := range r.DataChannels {
		o.DataChannels = append(o.DataChannels, offered(channel))
	}
	o.SDP, o.MID.Audio, o.MID.Video = c.connection.Offer()
	return o
}

func (today) message(self string, s sfu.Signal) any {
	switch s.Kind {
	case sfu.SignalReoffer:
		return reOffer{typeReOffer, s.SDP}
	case sfu.SignalNotify:
		if s.Notify.Details != nil {
			return happening(s.Notify)
		}
		return notification(self, s.Notify)
	case sfu.SignalPush:
		return push{typePush, s.Data}
	}
	return nil
}

// notification puts a change of the channel into Sora's words. A client that
// learns of its own coming is told who was there before, be it nobody.
func notification(self string, n *sfu.Notify) notify {
	subject := &n.Subject
	m := notify{
		event: eventOf(n),
		Role:  subject.Role, SessionID: subject.SessionID,
		ClientID: subject.ClientID, BundleID: subject.BundleID, ConnectionID: subject.ConnectionID,
		Audio: subject.Audio, Video: subject.Video,
		metadata: metadataOf(&subject.Metadata),
		Minutes:  int(subject.Connected / time.Minute), Counts: n.Counts,
		TURNTransportType: "udp",
	}
	if n.EventType == string(tenant.ConnectionCreated) && subject.ConnectionID == self {
		m.self, m.others = true, n.Others
	}
	return m
}

// appendText appends the notification in JSON. The others are put into words once
// for all who come after them: the list is as long as the channel is full.
func (m notify) appendText(dst []byte) ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil || !m.self {
		return append(dst, data...), err
	}
	dst = append(dst, data[:len(data)-1]...)
	dst = append(dst, `,"data":[`...)
	for i, o := range m.others {
		text, err := o.Memo.Get(today{}.protocol(), func() ([]byte, error) {
			return json.Marshal(notified{o.ClientID, o.BundleID, o.ConnectionID, metadataOf(&o.Metadata)})
		})
		if err != nil {
			return dst, err
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, text...)
	}
	return append(dst, "]}"...), nil
}
