package tenant

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Grant is what a tenant decides about one connection: by private claims of its
// access token, or in the answer of its auth webhook. The names and meanings are
// those of Sora's auth webhook. What is set wins over what the client asked for;
// a zero field is not set.
//
// It marshals to the JSON that ReadGrant reads.
type Grant struct {
	ClientID string `json:"client_id,omitempty"`
	BundleID string `json:"bundle_id,omitempty"` // connections of one bundle do not receive each other

	Audio           *bool       `json:"audio,omitempty"`
	AudioCodec      string      `json:"audio_codec_type,omitempty"` // OPUS
	AudioBitRate    int         `json:"audio_bit_rate,omitempty"`   // kbit/s
	AudioOpusParams *OpusParams `json:"audio_opus_params,omitempty"`

	Video           *bool       `json:"video,omitempty"`
	VideoCodec      string      `json:"video_codec_type,omitempty"` // VP8, VP9, AV1 or H264
	VideoBitRate    int         `json:"video_bit_rate,omitempty"`   // kbit/s
	VideoVP9Params  *VP9Params  `json:"video_vp9_params,omitempty"`
	VideoAV1Params  *AV1Params  `json:"video_av1_params,omitempty"`
	VideoH264Params *H264Params `json:"video_h264_params,omitempty"`
	VideoH265Params *H265Params `json:"video_h265_params,omitempty"`

	Simulcast           *bool      `json:"simulcast,omitempty"`
	SimulcastRID        string     `json:"simulcast_rid,omitempty"`         // r0, r1 or r2
	SimulcastRequestRID string     `json:"simulcast_request_rid,omitempty"` // likewise, or none
	SimulcastRPCRIDs    []string   `json:"simulcast_rpc_rids,omitzero"`     // what the client may request later; nil: any
	SimulcastEncodings  []Encoding `json:"simulcast_encodings,omitzero"`    // lowest layer first
	SimulcastMulticodec *bool      `json:"simulcast_multicodec,omitempty"`

	Spotlight           *bool      `json:"spotlight,omitempty"`
	SpotlightNumber     int        `json:"spotlight_number,omitempty"`      // speakers in focus
	SpotlightFocusRID   string     `json:"spotlight_focus_rid,omitempty"`   // none, r0, r1 or r2
	SpotlightUnfocusRID string     `json:"spotlight_unfocus_rid,omitempty"` // likewise
	SpotlightEncodings  []Encoding `json:"spotlight_encodings,omitzero"`

	DataChannelSignaling      *bool         `json:"data_channel_signaling,omitempty"`
	IgnoreDisconnectWebSocket *bool         `json:"ignore_disconnect_websocket,omitempty"`
	DataChannels              []DataChannel `json:"data_channels,omitzero"` // not nil: these, and if empty none

	SignalingNotify                   *bool           `json:"signaling_notify,omitempty"` // false: the client is told of nobody
	SignalingNotifyMetadata           json.RawMessage `json:"signaling_notify_metadata,omitempty"`
	SignalingNotifyMetadataExt        json.RawMessage `json:"signaling_notify_metadata_ext,omitempty"`
	SignalingNotifyICEConnectionState *bool           `json:"signaling_notify_ice_connection_state,omitempty"`

	RTCStats           *bool    `json:"rtc_stats,omitempty"`           // false: the client is asked for none
	RPCMethods         []string `json:"rpc_methods,omitzero"`          // what it may call; none unless set
	ConnectionLifetime int      `json:"connection_lifetime,omitempty"` // seconds of media
	// MaxChannelConnections keeps the client out of a channel that has as many.
	MaxChannelConnections int                `json:"max_channel_connections,omitempty"`
	Duplicates            Duplicates         `json:"duplicate_client_id,omitempty"` // allow, refuse or replace
	ForwardingFilters     []ForwardingFilter `json:"forwarding_filters,omitzero"`

	// Metadata goes to the client in its offer, EventMetadata to webhooks and
	// events. Of a token, the claim metadata has both meanings and stands in
	// Claim.Metadata.
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	EventMetadata json.RawMessage `json:"event_metadata,omitempty"`

	AudioStreamingLanguageCode string `json:"audio_streaming_language_code,omitempty"`

	// TURN is checked, and without effect until there is TURN.
	TURNTCPOnly *bool  `json:"turn_tcp_only,omitempty"`
	TURNTLSOnly *bool  `json:"turn_tls_only,omitempty"`
	TURNFQDN    string `json:"turn_fqdn,omitempty"`
	TURNTLSFQDN string `json:"turn_tls_fqdn,omitempty"`
	IPv4Address string `json:"ipv4_address,omitempty"`
	IPv6Address string `json:"ipv6_address,omitempty"`
}

// Bit rates that may be asked for, in kbit/s.
const (
	MinAudioKbit, MaxAudioKbit = 6, 510
	MinVideoKbit, MaxVideoKbit = 1, 30_000
)

// The words for layers of simulcast, lowest first, and for none of them.
var (
	layers       = []string{"r0", "r1", "r2"}
	layersOrNone = []string{"none", "r0", "r1", "r2"}
	rpcLayers    = []string{"none", "r0", "r1", "r2", "auto"}
	duplicates   = []string{string(DuplicatesAllow), string(DuplicatesRefuse), string(DuplicatesReplace)}
)

// ReadGrant reads a Grant from a JSON object; other fields in it mean nothing.
// The error is a *FieldError that names the first field that is wrong.
func ReadGrant(data []byte) (Grant, error) {
	f, ok := ReadFields(data)
	if !ok {
		return Grant{}, &FieldError{"it", "must be a JSON object"}
	}
	g := readGrant(f)
	g.Metadata = anyJSON(f, "metadata", MaxNotifyMetadataBytes)
	if err := f.Err(); err != nil {
		return Grant{}, err
	}
	return g, nil
}

// readGrant reads all but metadata, which has a meaning of its own in a token.
func readGrant(f Fields) Grant {
	g := Grant{
		ClientID:                          f.Name("client_id"),
		BundleID:                          f.Name("bundle_id"),
		Simulcast:                         f.Switch("simulcast"),
		SimulcastRID:                      f.Choice("simulcast_rid", layers...),
		SimulcastRequestRID:               f.Choice("simulcast_request_rid", layersOrNone...),
		SimulcastRPCRIDs:                  words(f, "simulcast_rpc_rids", rpcLayers),
		SimulcastEncodings:                readEncodings(f, "simulcast_encodings"),
		SimulcastMulticodec:               f.Switch("simulcast_multicodec"),
		Spotlight:                         f.Switch("spotlight"),
		SpotlightNumber:                   f.Number("spotlight_number", 1, MaxSpotlightNumber),
		SpotlightFocusRID:                 f.Choice("spotlight_focus_rid", layersOrNone...),
		SpotlightUnfocusRID:               f.Choice("spotlight_unfocus_rid", layersOrNone...),
		SpotlightEncodings:                readEncodings(f, "spotlight_encodings"),
		DataChannelSignaling:              f.Switch("data_channel_signaling"),
		IgnoreDisconnectWebSocket:         f.Switch("ignore_disconnect_websocket"),
		DataChannels:                      ReadDataChannels(f),
		SignalingNotify:                   f.Switch("signaling_notify"),
		SignalingNotifyMetadata:           anyJSON(f, "signaling_notify_metadata", MaxNotifyMetadataBytes),
		SignalingNotifyMetadataExt:        anyJSON(f, "signaling_notify_metadata_ext", MaxNotifyMetadataBytes),
		SignalingNotifyICEConnectionState: f.Switch("signaling_notify_ice_connection_state"),
		RTCStats:                          f.Switch("rtc_stats"),
		RPCMethods:                        names(f, "rpc_methods", maxRPCMethods),
		ConnectionLifetime:                f.Number("connection_lifetime", 1, int(MaxConnectionDuration/time.Second)),
		MaxChannelConnections:             f.Number("max_channel_connections", 1, MaxChannelConnections),
		Duplicates:                        Duplicates(f.Choice("duplicate_client_id", duplicates...)),
		ForwardingFilters:                 ReadForwardingFilters(f),
		EventMetadata:                     anyJSON(f, "event_metadata", MaxMetadataBytes),
		AudioStreamingLanguageCode:        f.Name("audio_streaming_language_code"),
		TURNTCPOnly:                       f.Switch("turn_tcp_only"),
		TURNTLSOnly:                       f.Switch("turn_tls_only"),
		TURNFQDN:                          f.Name("turn_fqdn"),
		TURNTLSFQDN:                       f.Name("turn_tls_fqdn"),
		IPv4Address:                       address(f, "ipv4_address", netip.Addr.Is4),
		IPv6Address:                       address(f, "ipv6_address", netip.Addr.Is6),
	}
	if g.RTCStats == nil {
		g.RTCStats = f.Switch("user_agent_stats") // its older name
	}
	g.readAudio(f)
	g.readVideo(f)
	return g
}

// Over returns g laid over what was granted before: what g sets wins, but for
// the shorter lifetime.
func (g Grant) Over(before Grant) Grant {
	lifetime := before.ConnectionLifetime
	if lifetime == 0 || g.ConnectionLifetime > 0 && g.ConnectionLifetime < lifetime {
		lifetime = g.ConnectionLifetime
	}
	from, to := reflect.ValueOf(g), reflect.ValueOf(&before).Elem()
	for i := range from.NumField() {
		if !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	before.ConnectionLifetime = lifetime
	return before
}

// anyJSON returns a field that may be any JSON, compact and in a form that jsonb
// can hold; nil if absent.
func anyJSON(f Fields, name string, most int) json.RawMessage {
	raw := f.Raw(name)
	if raw == nil {
		return nil
	}
	v, err := decodeNumbers(raw)
	if err != nil || !storableJSON(v, maxMetadataDepth) {
		f.Fail(name, fmt.Sprintf(`must not contain \u0000, huge numbers or more than %d levels`, maxMetadataDepth))
		return nil
	}
	compact, err := marshal(v)
	if err != nil || len(compact) > most {
		f.Fail(name, fmt.Sprintf("has %d bytes; the most is %d", len(compact), most))
		return nil
	}
	return compact
}

// words returns a list of allowed words; nil if absent.
func words(f Fields, name string, allowed []string) []string {
	list := names(f, name, len(allowed))
	for _, word := range list {
		if !slices.Contains(allowed, word) {
			f.Fail(name, "must hold only "+strings.Join(allowed, ", "))
			return nil
		}
	}
	return list
}

// names returns a list of names; nil if absent.
func names(f Fields, name string, most int) []string {
	list := f.List(name, most)
	if list == nil {
		return nil
	}
	found := make([]string, 0, len(list))
	for _, raw := range list {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			f.Fail(name, "must hold strings")
			return nil
		}
		if err := CheckName(f.where+name, s); err != nil {
			f.Stop(err)
			return nil
		}
		found = append(found, s)
	}
	return found
}

// address returns an IP address of the right family; "" if absent.
func address(f Fields, name string, right func(netip.Addr) bool) string {
	s := f.Name(name)
	if s == "" {
		return ""
	}
	if a, err := netip.ParseAddr(s); err != nil || !right(a) || a.Zone() != "" {
		f.Fail(name, "must be an address of its family")
		return ""
	}
	return s
}
