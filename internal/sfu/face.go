package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// MediaWish is what a client asked for one kind of media.
type MediaWish struct {
	Enabled bool
	Codec   string            // OPUS; VP8, VP9, AV1, H264; "": the dialect's default, or any when AnyCodec
	BitRate int               // kbit/s; 0: the default
	Params  map[string]string // further fmtp parameters of the upload section, such as usedtx=1
}

// Simulcast is what is agreed with a client about layers of different quality.
type Simulcast struct {
	// Off are layers that a publisher is not to send, by place: r0, r1, r2.
	Off [3]bool
	// RequestRID is which layer of every publisher the client is to receive: none,
	// r0, r1, r2; "" or auto: the best that the way to it carries.
	RequestRID string
	// RPCRIDs is what the client may ask for later, as SimulcastSwitched tells it;
	// nil: everything. The door refuses the rest.
	RPCRIDs []string
}

// JoinRequest describes one client that has been admitted to a channel.
type JoinRequest struct {
	Tenant       tenant.ID
	Channel      string // without any @TENANT_ID suffix
	SessionID    string
	ConnectionID string
	ClientID     string
	BundleID     string // connections of one bundle receive nothing of each other, nor news; "" means ConnectionID
	Role         tenant.Role
	Audio, Video MediaWish
	// Farewell is how long after the connection's end its transport stays, so that
	// the door can have its last word and the client can go by itself; the door ends
	// that with HangUp. 0: the transport is closed at once.
	Farewell time.Duration
	// AnyCodec offers every codec for upload, the client's answer chooses
	// (the 2015 dialect).
	AnyCodec bool
	// Slots gives a receiver one fixed audio and one fixed video section that
	// show the channel's oldest publisher, so that the client never has to
	// renegotiate (the 2015 dialect, WHEP).
	Slots bool
	// Simulcast has a publisher asked for its video in several layers, and says
	// which one a receiver is to get; nil: one layer, and the best.
	Simulcast *Simulcast
	// DataChannels are opened by the server, in this order, if the client takes
	// the m=application section that the offer has then. Labels are distinct, and
	// at most transport.MaxDataChannels.
	DataChannels []DataChannel
	// Spotlight has it take part in the channel's spotlight; nil: it does not. Who
	// publishes should do it with Simulcast, too.
	Spotlight *Spotlight
	// Offer is the client's, which is answered once; nil: the server offers, and
	// the client answers (RFC 9725 and the like). A receiver has Slots then.
	Offer *Offer
	// NoPush: its door has no words for what the tenant's server pushes.
	NoPush bool
	// Metadata is shown to the others in notifications.
	Metadata Metadata
	// Filters say what it is shown of whom; nil: all.
	Filters []tenant.ForwardingFilter
	// NoNotify keeps all notifications of others from the client; its own coming
	// it is told.
	NoNotify bool
}

// ICE is our side of an ICE session. Candidates are the values of SDP's candidate
// attributes, without "candidate:".
type ICE struct {
	Ufrag, Pwd string
	Candidates []string
}

// SignalKind says what a Signal is about.
type SignalKind int

// The kinds of Signal.
const (
	// SignalConnected: the connection's media transport is up (DTLS done).
	SignalConnected SignalKind = iota + 1
	// SignalReoffer: SDP is a new offer; the client's ReAnswer is awaited.
	SignalReoffer
	// SignalNotify: another (or this) connection came or went, or something else
	// happened that the client is told of.
	SignalNotify
	// SignalPush: Data is to be pushed to the client as it is.
	SignalPush
	// SignalDataOpen: all data channels are open; SendData works from now on.
	SignalDataOpen
	// SignalDataRefused: the client's answer refused the data channels; the
	// connection goes on without.
	SignalDataRefused
	// SignalData: the client sent Data on the data channel Label, which is one of
	// the door's. Of a channel with Compress it is decompressed.
	SignalData
	// SignalDataClosed: the client closed the data channel Label; "": its whole
	// association ended, and with it every channel.
	SignalDataClosed
	// SignalEnded: the last one; Reason says why.
	SignalEnded
)

// Signal is what a connection's door must tell its client.
type Signal struct {
	Kind   SignalKind
	SDP    string
	Notify *Notify
	Data   []byte
	Label  string // of a data channel
	Binary bool   // Data was sent as binary, not as a string
	Memo   *Memo  // of a push: keeps what doors make of it; nil: it goes to one connection alone
	Reason string // a tenant.End constant
}

// Notify is a change of the channel's membership, or of what a client is shown.
type Notify struct {
	EventType string // connection.created, connection.updated, connection.destroyed; else see Details
	Timestamp time.Time
	Subject   ConnectionInfo
	Counts    tenant.Counts // after the change
	Others    []*Other      // connection.created sent to the subject itself: who was there already
	// Details of an event that is not of a connection's coming and going; nil:
	// it is. Its type says which event it is: *Forwarding,
	// *SimulcastSwitched, *SpotlightChange.
	Details any
	// Memo keeps what doors make of it; nil: it goes to one connection alone.
	Memo *Memo
}

// Forwarding tells a receiver of something published that its filters keep from
// it: forwarding.blocked.
type Forwarding struct {
	Kind        string // audio, video
	Source      string // the publisher's connection id
	Destination string // the receiver's
}

// Other is a connection that a newcomer meets. It is the same for all newcomers
// and must not be changed.
type Other struct {
	ConnectionID string
	ClientID     string
	BundleID     string
	Metadata     Metadata
	Memo         Memo // what doors make of it
}

// ConnectionInfo is a copy of what is known about one connection.
type ConnectionInfo struct {
	Tenant       tenant.ID
	Channel      string
	SessionID    string
	ConnectionID string
	ClientID     string
	BundleID     string
	Role         tenant.Role
	Audio, Video bool
	VideoCodec   string // what it sends; "" when nothing yet
	Metadata     Metadata
	JoinedAt     time.Time
	// Connected is how long the media transport has been up, on the monotonic
	// clock; 0 before that.
	Connected             time.Duration
	BytesIn, BytesOut     int64 // bytes of media and of data messages from and to the client
	PacketsIn, PacketsOut int64

	// What the client reports of the way from us to it; zero before it does.
	Loss      float64       // part of the packets that were lost of late, 0 to 1
	Jitter    time.Duration // of arrivals (RFC 3550 §6.4.1), of the track where it is largest
	RTT       time.Duration // round trip, smoothed
	Bandwidth int64         // what it estimates that it can receive, in bit/s
	// Acknowledged and Missing count packets by transport-wide feedback
	// (Config.ViewerFeedback).
	Acknowledged, Missing int64

	// Simulcast: the layers that it sends, the lowest first, and which it gets of
	// whom. They must not be changed; nil: it has nothing to do with simulcast.
	SentLayers  []SentLayer
	ShownLayers []ShownLayer
}
