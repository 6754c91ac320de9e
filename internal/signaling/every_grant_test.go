package signaling_test

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// overheard is a media plane that remembers who came.
type overheard struct {
	*sfu.SFU
	requests chan sfu.JoinRequest
}

func (o overheard) Join(ctx context.Context, r sfu.JoinRequest) (*sfu.Connection, error) {
	o.requests <- r
	return o.SFU.Join(ctx, r)
}

// effect is what a field of a grant does to one connect.
type effect struct {
	grant   string // JSON of the grant
	connect string // what the client asks for beyond sendrecv with audio and video
	offer   string // JSON of offer fields that follow from it
	request func(sfu.JoinRequest) bool
	opening func(tenant.Opening) bool
	sdp     []string // lines that the offer has
	missing []string // and has not
	only    bool     // there is nothing else it could be
}

// effects has every field of tenant.Grant. Those that show only later have a
// test of their own.
var effects = map[string]effect{
	"ClientID": {grant: `{"client_id":"x"}`, connect: `,"client_id":"own"`, offer: `{"client_id":"x"}`,
		opening: func(o tenant.Opening) bool { return o.ClientID == "x" }},
	"BundleID":   {grant: `{"bundle_id":"x"}`, connect: `,"bundle_id":"own"`, offer: `{"bundle_id":"x"}`, request: func(r sfu.JoinRequest) bool { return r.BundleID == "x" }},
	"Audio":      {grant: `{"audio":false}`, offer: `{"audio":false,"video":true}`, missing: []string{"m=audio"}},
	"AudioCodec": {grant: `{"audio_codec_type":"OPUS"}`, offer: `{"audio_codec_type":"OPUS"}`, sdp: []string{"opus/48000"}, only: true},
	"AudioBitRate": {grant: `{"audio_bit_rate":33}`, connect: `,"audio":{"bit_rate":64}`, offer: `{"audio_bit_rate":33}`,
		sdp: []string{"b=TIAS:33000"}, missing: []string{"b=TIAS:64000"}},
	"AudioOpusParams": {grant: `{"audio_opus_params":{"stereo":false,"maxplaybackrate":16000}}`, connect: `,"audio":{"opus_params":{"usedtx":true}}`,
		sdp: []string{"stereo=0", "maxplaybackrate=16000"}, missing: []string{"usedtx"}},
	"Video":      {grant: `{"video":false}`, offer: `{"audio":true,"video":false}`, missing: []string{"m=video"}},
	"VideoCodec": {grant: `{"video_codec_type":"VP8"}`, connect: `,"video":{"codec_type":"H264"}`, offer: `{"video_codec_type":"VP8"}`, sdp: []string{"VP8/90000"}, missing: []string{"H264/90000"}},
	"VideoBitRate": {grant: `{"video_bit_rate":333}`, connect: `,"video":{"bit_rate":5000}`, offer: `{"video_bit_rate":333}`,
		sdp: []string{"b=TIAS:333000"}, missing: []string{"b=TIAS:5000000"}},
	"VideoVP9Params": {grant: `{"video_vp9_params":{"profile_id":2}}`, connect: `,"video":{"vp9_params":{"profile_id":1}}`, sdp: []string{"profile-id=2"}, missing: []string{"profile-id=1"}},
	"VideoAV1Params": {grant: `{"video_codec_type":"AV1","video_av1_params":{"profile":1}}`, sdp: []string{"AV1/90000", "profile=1"}},
	"VideoH264Params": {grant: `{"video_codec_type":"H264","video_h264_params":{"profile_level_id":"640032"}}`, connect: `,"video":{"codec_type":"H264","h264_params":{"profile_level_id":"42e01f"}}`,
		sdp: []string{"profile-level-id=640032"}, missing: []string{"profile-level-id=42e01f"}},
	"Simulcast": {grant: `{"simulcast":true}`, offer: `{"simulcast":true}`, sdp: []string{"a=simulcast:recv r0;r1;r2"}},
	"SimulcastRID": {grant: `{"simulcast_rid":"r1"}`, connect: `,"simulcast":true,"simulcast_rid":"r2"`,
		request: func(r sfu.JoinRequest) bool { return r.Simulcast.RequestRID == "r1" }},
	"SimulcastRequestRID": {grant: `{"simulcast_request_rid":"none"}`, connect: `,"simulcast":true,"simulcast_request_rid":"r2"`,
		request: func(r sfu.JoinRequest) bool { return r.Simulcast.RequestRID == "none" }},
	"SimulcastRPCRIDs": {grant: `{"simulcast_rpc_rids":["r0"]}`, connect: `,"simulcast":true`,
		request: func(r sfu.JoinRequest) bool { return slices.Equal(r.Simulcast.RPCRIDs, []string{"r0"}) }},
	"SimulcastEncodings": {grant: `{"simulcast_encodings":[{"rid":"r0","maxBitrate":1000},{"rid":"r1"}]}`, connect: `,"simulcast":true`,
		offer: `{"encodings":[{"rid":"r0","active":true,"maxBitrate":1000,"scaleResolutionDownBy":4,"scalabilityMode":"L1T1"},
			{"rid":"r1","active":true,"scaleResolutionDownBy":2,"scalabilityMode":"L1T1"},
			{"rid":"r2","active":false,"scaleResolutionDownBy":1,"scalabilityMode":"L1T1"}]}`, sdp: []string{"a=simulcast:recv r0;r1;~r2"}},
	"Spotlight": {grant: `{"spotlight":true}`, offer: `{"spotlight":true,"simulcast":true}`, request: func(r sfu.JoinRequest) bool { return r.Spotlight != nil }},
	"SpotlightNumber": {grant: `{"spotlight_number":2}`, connect: `,"spotlight":true,"spotlight_number":3`,
		request: func(r sfu.JoinRequest) bool { return r.Spotlight.Number == 2 }},
	"SpotlightFocusRID": {grant: `{"spotlight_focus_rid":"r2"}`, connect: `,"spotlight":true,"spotlight_focus_rid":"r1"`,
		request: func(r sfu.JoinRequest) bool { return r.Spotlight.FocusRID == "r2" }},
	"SpotlightUnfocusRID": {grant: `{"spotlight_unfocus_rid":"none"}`, connect: `,"spotlight":true,"spotlight_unfocus_rid":"r1"`,
		request: func(r sfu.JoinRequest) bool { return r.Spotlight.UnfocusRID == "none" }},
	"SpotlightEncodings":         {grant: `{"spotlight_encodings":[{"rid":"r2"}]}`, connect: `,"spotlight":true`, sdp: []string{"a=simulcast:recv ~r0;~r1;r2"}},
	"SignalingNotify":            {grant: `{"signaling_notify":false}`, request: func(r sfu.JoinRequest) bool { return r.NoNotify }},
	"SignalingNotifyMetadata":    {grant: `{"signaling_notify_metadata":1}`, request: func(r sfu.JoinRequest) bool { return string(r.Metadata.Authz) == "1" }},
	"SignalingNotifyMetadataExt": {grant: `{"signaling_notify_metadata_ext":1}`, request: func(r sfu.JoinRequest) bool { return string(r.Metadata.Ext) == "1" }},
	"ForwardingFilters": {grant: `{"forwarding_filters":[{"name":"x","action":"block","rules":[]}]}`, connect: `,"forwarding_filters":[{"name":"own","action":"block","rules":[]}]`,
		request: func(r sfu.JoinRequest) bool { return len(r.Filters) == 1 && r.Filters[0].Name == "x" }},
	"DataChannelSignaling": {grant: `{"data_channel_signaling":false}`, connect: `,"data_channel_signaling":true`,
		offer: `{"data_channel_signaling":false}`, missing: []string{"m=application"}},
	"IgnoreDisconnectWebSocket": {grant: `{"ignore_disconnect_websocket":true}`, connect: `,"data_channel_signaling":true,"ignore_disconnect_websocket":false`,
		offer: `{"ignore_disconnect_websocket":true}`},
	"DataChannels": {grant: `{"data_channels":[{"label":"#x","direction":"recvonly","header":[{"type":"sender_connection_id"}]}]}`, connect: `,"data_channel_signaling":true,"data_channels":[{"label":"#own"}]`,
		request: func(r sfu.JoinRequest) bool {
			last := r.DataChannels[len(r.DataChannels)-1]
			return last.Label == "#x" && last.SenderHeader && r.DataChannels[len(r.DataChannels)-2].Label != "#own"
		}},
	"RPCMethods": {grant: `{"rpc_methods":["2025.2.0/RequestSimulcastRid","unknown"]}`, connect: `,"data_channel_signaling":true`,
		offer: `{"rpc_methods":["2025.2.0/RequestSimulcastRid"]}`, request: func(r sfu.JoinRequest) bool {
			return slices.ContainsFunc(r.DataChannels, func(c sfu.DataChannel) bool { return c.Label == "rpc" })
		}},
	"MaxChannelConnections": {grant: `{"max_channel_connections":7}`, opening: func(o tenant.Opening) bool { return o.MaxChannelConnections == 7 }},
	"Duplicates":            {grant: `{"duplicate_client_id":"replace"}`, opening: func(o tenant.Opening) bool { return o.Duplicates == tenant.DuplicatesReplace }},
	"Metadata":              {grant: `{"metadata":{"hello":1}}`, offer: `{"metadata":{"hello":1}}`},
	"EventMetadata":         {grant: `{"event_metadata":{"order":1}}`, opening: func(o tenant.Opening) bool { return string(o.Metadata) == `{"order":1}` }},
}

// seenElsewhere are fields whose effect comes after the offer, each with its
// test.
var seenElsewhere = map[string]string{
	"ConnectionLifetime": "TestLifetimeOfGrant",
	"RTCStats":           "TestRTCStatsOfGrant",
}

// withoutEffect are fields that are read and checked only: what they are about
// does not exist here.
var withoutEffect = []string{
	"SimulcastMulticodec",                                   // a publisher sends one codec
	"VideoH265Params",                                       // there is no H.265
	"SignalingNotifyICEConnectionState",                     // an ICE-lite server has no states to tell
	"AudioStreamingLanguageCode",                            // nor audio streaming
	"TURNTCPOnly", "TURNTLSOnly", "TURNFQDN", "TURNTLSFQDN", // nor TURN
	"IPv4Address", "IPv6Address",
}

// Every field of a grant takes effect, from the claims of a token and from the
// answer of an auth webhook, over what the client asked for.
func TestEveryFieldOfAGrant(t *testing.T) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[tenant.Grant]()) {
		effect, ok := effects[field.Name]
		if !ok && seenElsewhere[field.Name] == "" && !slices.Contains(withoutEffect, field.Name) {
			t.Errorf("what does %s do?", field.Name)
		}
		if !ok {
			continue
		}
		g, err := tenant.ReadGrant([]byte(effect.grant))
		if err != nil {
			t.Fatal(err)
		}
		if reflect.ValueOf(g).FieldByIndex(field.Index).IsZero() {
			t.Fatalf("%s does not set %s", effect.grant, field.Name)
		}
		plain := keys{tenant.Claim{}}
		for way, config := range map[string]signaling.Config{
			"claim":  {Verifier: keys{tenant.Claim{Grant: g}}},
			"answer": {Verifier: hooked(tenant.Grant{}), Authorizer: &server{answer: func(context.Context) (tenant.Grant, error) { return g, nil }}},
		} {
			t.Run(field.Name+" by "+way, func(t *testing.T) { effect.check(t, config, true) })
		}
		// The check itself would notice if nothing were granted.
		t.Run(field.Name+" not granted", func(t *testing.T) { effect.check(t, signaling.Config{Verifier: plain}, false) })
	}
}

// check connects and wants the effect, or wants it not to be there.
func (e effect) check(t *testing.T, c signaling.Config, want bool) {
	plane := overheard{newPlane(t), make(chan sfu.JoinRequest, 1)}
	c.Media = plane
	h := open(t, c)
	client := h.visit(t)
	client.say(join("sendrecv", e.connect))
	_, offer := client.hear()
	request := <-plane.requests
	var opening tenant.Opening
	h.books.read(func(b *books) { opening = b.opened[request.ConnectionID] })

	var wrong []string
	expected := map[string]any{}
	if e.offer != "" {
		if err := json.Unmarshal([]byte(e.offer), &expected); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range expected {
		if !reflect.DeepEqual(offer[name], value) {
			wrong = append(wrong, name)
		}
	}
	sdp, _ := offer["sdp"].(string)
	for _, line := range e.sdp {
		if !strings.Contains(sdp, line) {
			wrong = append(wrong, line)
		}
	}
	for _, line := range e.missing {
		if strings.Contains(sdp, line) {
			wrong = append(wrong, "not "+line)
		}
	}
	if e.request != nil && !e.request(request) {
		wrong = append(wrong, "the join request")
	}
	if e.opening != nil && !e.opening(opening) {
		wrong = append(wrong, "the opening")
	}
	switch {
	case want && len(wrong) > 0:
		t.Errorf("without effect on %q: %v %+v %s", wrong, offer, request, sdp)
	case !want && len(wrong) == 0 && !e.only:
		t.Error("it is so without the grant, too")
	}
}
