package signaling_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// sdkConnect is what sora-js-sdk 2026.1.0 sends, its SDP cut.
const sdkConnect = `{"type":"connect","role":"recvonly","channel_id":"room","audio":true,"video":true,"metadata":{"access_token":"tok"},
"sora_client":"Sora JavaScript SDK 2026.1.0","environment":"Mozilla/5.0","sdp":"v=0\r\n"}`

func TestParseConnectOfToday(t *testing.T) {
	opus, vp9 := sfu.MediaWish{Enabled: true, Codec: "OPUS"}, sfu.MediaWish{Enabled: true, Codec: "VP9"}
	base := signaling.Connect{Role: tenant.SendOnly, Channel: "room", Audio: opus, Video: vp9}
	change := func(f func(*signaling.Connect)) signaling.Connect { c := base; f(&c); return c }
	tests := []struct {
		name, more string // the fields after type, role and channel_id
		want       signaling.Connect
	}{
		{"nothing else", ``, base},
		{"null is absent", `,"audio":null,"video":null,"client_id":null,"metadata":null,"simulcast":null,"data_channels":null,"access_token":null`, base},
		{"unknown fields", `,"e2ee":true,"future":{"a":[1]},"multistream":true`, base},
		{"token in metadata", `,"metadata":{"access_token":"t"}`, change(func(c *signaling.Connect) { c.Token = "t" })},
		{"camel-case token in metadata", `,"metadata":{"accessToken":"t"}`, change(func(c *signaling.Connect) { c.Token = "t" })},
		{"token at the top", `,"access_token":"t","metadata":{"access_token":"other"}`, change(func(c *signaling.Connect) { c.Token = "t" })},
		{"token that is no string", `,"metadata":{"access_token":7}`, change(func(c *signaling.Connect) { c.Token = 7.0 })},
		{"metadata that is no object", `,"metadata":"tok"`, base},
		{"ids", `,"client_id":"c","bundle_id":"b"`, change(func(c *signaling.Connect) { c.ClientID, c.BundleID = "c", "b" })},
		{"no audio", `,"audio":false`, change(func(c *signaling.Connect) { c.Audio.Enabled = false })},
		{"video details", `,"video":{"codec_type":"H264","bit_rate":2500,"h264_params":{"profile_level_id":"42E01F"}}`, change(func(c *signaling.Connect) {
			c.Video = sfu.MediaWish{Enabled: true, Codec: "H264", BitRate: 2500, Params: map[string]string{"profile-level-id": "42e01f"}}
		})},
		{"VP9 profile", `,"video":{"vp9_params":{"profile_id":2}}`, change(func(c *signaling.Connect) { c.Video.Params = map[string]string{"profile-id": "2"} })},
		{"AV1 profile", `,"video":{"codec_type":"AV1","av1_params":{"profile":1}}`, change(func(c *signaling.Connect) {
			c.Video.Codec, c.Video.Params = "AV1", map[string]string{"profile": "1"}
		})},
		{"another codec's parameters", `,"video":{"codec_type":"VP8","vp9_params":{"profile_id":2}}`, change(func(c *signaling.Connect) { c.Video.Codec = "VP8" })},
		{"opus details", `,"audio":{"codec_type":"OPUS","bit_rate":64,"opus_params":{"channels":2,"usedtx":true,"stereo":false,"sprop_stereo":false,"maxplaybackrate":16000,"minptime":10}}`,
			change(func(c *signaling.Connect) {
				c.Audio.BitRate = 64
				c.Audio.Params = map[string]string{"usedtx": "1", "stereo": "0", "sprop-stereo": "0", "maxplaybackrate": "16000", "minptime": "10"}
			})},
		{"spotlight", `,"spotlight":true,"spotlight_number":8,"spotlight_focus_rid":"r2","spotlight_unfocus_rid":"none"`, change(func(c *signaling.Connect) {
			c.Spotlight = signaling.SpotlightWish{On: true, Number: 8, FocusRID: "r2", UnfocusRID: "none"}
		})},
		{"simulcast", `,"simulcast":true,"simulcast_rid":"r1"`, change(func(c *signaling.Connect) { c.Simulcast = signaling.SimulcastWish{On: true, RequestRID: "r1"} })},
		{"its newer name", `,"simulcast":true,"simulcast_rid":"r1","simulcast_request_rid":"none"`,
			change(func(c *signaling.Connect) { c.Simulcast = signaling.SimulcastWish{On: true, RequestRID: "none"} })},
		{"data channels", `,"data_channel_signaling":true,"ignore_disconnect_websocket":true,"data_channels":[{"label":"#a","direction":"sendrecv","ordered":true},{"label":"#b","max_retransmits":1}]`, change(func(c *signaling.Connect) {
			c.DataChannelSignaling, c.IgnoreDisconnectWebSocket = new(true), new(true)
			c.DataChannels = []tenant.DataChannel{{Label: "#a", Direction: tenant.SendRecv}, {Label: "#b", Direction: tenant.SendRecv, MaxRetransmits: new(uint16(1))}}
		})},
		{"messages only", `,"audio":false,"video":false,"data_channels":[{"label":"#a","compress":true,"header":[{"type":"sender_connection_id"}]}]`, change(func(c *signaling.Connect) {
			c.Audio.Enabled, c.Video.Enabled = false, false
			c.DataChannels = []tenant.DataChannel{{Label: "#a", Direction: tenant.SendRecv, Compress: true, SenderHeader: true}}
		})},
		{"notify metadata", `,"signaling_notify_metadata":{"name":"Ken"}`, change(func(c *signaling.Connect) { c.Metadata.Authn = json.RawMessage(`{"name":"Ken"}`) })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			data := `{"type":"connect","role":"sendonly","channel_id":"room"` + test.more + `}`
			m, err := signaling.ParseMessage([]byte(data), signaling.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			m.Connect.Said = signaling.Said{}
			if !reflect.DeepEqual(*m.Connect, test.want) {
				t.Errorf("got  %+v\nwant %+v", *m.Connect, test.want)
			}
		})
	}
}

func TestParseConnectTellsTheDialectsApart(t *testing.T) {
	wish := sfu.MediaWish{Enabled: true}
	tests := []struct {
		data string
		want signaling.Connect
	}{
		{`{"type":"connect","role":"upstream","channelId":"room","accessToken":"t"}`,
			signaling.Connect{Dialect2015: true, Role: tenant.SendOnly, Channel: "room", Token: "t", Audio: wish, Video: wish, AnyCodec: true}},
		{`{"type":"connect","role":"downstream","channelId":"room","accessToken":"t"}`,
			signaling.Connect{Dialect2015: true, Role: tenant.RecvOnly, Channel: "room", Token: "t", Audio: wish, Video: wish, Slots: true}},
		{`{"type":"connect","role":"downstream","channelId":"room","multistream":true,"metadata":{"access_token":"m"}}`,
			signaling.Connect{Dialect2015: true, Role: tenant.RecvOnly, Channel: "room", Token: "m", Audio: wish, Video: wish}},
		{`{"type":"connect","role":"upstream","channel_id":"room","access_token":"t","codecType":"VP8"}`,
			signaling.Connect{Dialect2015: true, Role: tenant.SendOnly, Channel: "room", Token: "t", Audio: wish, Video: sfu.MediaWish{Enabled: true, Codec: "VP8"}, AnyCodec: true}},
		{`{"type":"connect","role":"sendrecv","channelId":"room","video":{"codecType":"H264"},"audio":false}`,
			signaling.Connect{Dialect2015: true, Role: tenant.SendRecv, Channel: "room", Video: sfu.MediaWish{Enabled: true, Codec: "H264"}, AnyCodec: true, Slots: true}},
		{`{"type":"connect","role":"recvonly","channel_id":"room","accessToken":"t"}`,
			signaling.Connect{Role: tenant.RecvOnly, Channel: "room", Token: "t", Audio: sfu.MediaWish{Enabled: true, Codec: "OPUS"}, Video: sfu.MediaWish{Enabled: true, Codec: "VP9"}}},
		{sdkConnect,
			signaling.Connect{Role: tenant.RecvOnly, Channel: "room", Token: "tok", Audio: sfu.MediaWish{Enabled: true, Codec: "OPUS"}, Video: sfu.MediaWish{Enabled: true, Codec: "VP9"}}},
	}
	for _, test := range tests {
		m, err := signaling.ParseMessage([]byte(test.data), signaling.Limits{})
		if err != nil {
			t.Errorf("%s: %v", test.data, err)
			continue
		}
		m.Connect.Said = signaling.Said{}
		if !reflect.DeepEqual(*m.Connect, test.want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", test.data, *m.Connect, test.want)
		}
	}
}

// badMessages are messages that are refused, each with a word that its hint
// must have.
var badMessages = map[string]struct {
	data, hint string
	code       tenant.Code
}{
	"empty":                   {``, "object", tenant.BadMessage},
	"no JSON":                 {`hello`, "object", tenant.BadMessage},
	"cut short":               {`{"type":"connect"`, "object", tenant.BadMessage},
	"two values":              {`{"type":"pong"}{}`, "object", tenant.BadMessage},
	"an array":                {`[]`, "object", tenant.BadMessage},
	"null":                    {`null`, "object", tenant.BadMessage},
	"no type":                 {`{}`, "type", tenant.BadMessage},
	"type is a number":        {`{"type":1}`, "type must be a string", tenant.BadMessage},
	"no role":                 {`{"type":"connect","channel_id":"c"}`, "role is missing", tenant.BadMessage},
	"unknown role":            {connectWith(`"role":"director"`), "director", tenant.BadMessage},
	"role is a list":          {connectWith(`"role":["sendonly"]`), "role must be a string", tenant.BadMessage},
	"no channel":              {`{"type":"connect","role":"sendonly"}`, "channel_id is missing", tenant.BadMessage},
	"empty channel":           {connectWith(`"channel_id":""`), "empty", tenant.BadMessage},
	"channel is a number":     {connectWith(`"channel_id":5`), "channel_id must be a string", tenant.BadMessage},
	"long channel":            {connectWith(`"channel_id":"` + strings.Repeat("x", 256) + `"`), "255", tenant.BadMessage},
	"control in channel":      {connectWith(`"channel_id":"a\u0000b"`), "control", tenant.BadMessage},
	"two channels":            {connectWith(`"channelId":"other"`), "differ", tenant.BadMessage},
	"long 2015 channel":       {`{"type":"connect","role":"upstream","channelId":"` + strings.Repeat("x", 256) + `"}`, "255", tenant.BadMessage},
	"empty client_id":         {connectWith(`"client_id":""`), "client_id must not be empty", tenant.BadMessage},
	"long bundle_id":          {connectWith(`"bundle_id":"` + strings.Repeat("雲", 86) + `"`), "bundle_id", tenant.BadMessage},
	"newline in client_id":    {connectWith(`"client_id":"a\nb"`), "control", tenant.BadMessage},
	"audio is a string":       {connectWith(`"audio":"yes"`), "audio must be", tenant.BadMessage},
	"video is a list":         {connectWith(`"video":[]`), "video must be", tenant.BadMessage},
	"nothing at all":          {connectWith(`"audio":false,"video":false`), "one is needed", tenant.BadMessage},
	"audio codec":             {connectWith(`"audio":{"codec_type":"PCMU"}`), "OPUS", tenant.BadMessage},
	"video codec":             {connectWith(`"video":{"codec_type":"H265"}`), "VP8, VP9, AV1, H264", tenant.BadMessage},
	"2015 codec":              {`{"type":"connect","role":"upstream","channelId":"c","codecType":"H261"}`, "codecType", tenant.BadMessage},
	"audio bit rate":          {connectWith(`"audio":{"bit_rate":511}`), "audio.bit_rate", tenant.BadMessage},
	"video bit rate":          {connectWith(`"video":{"bit_rate":30001}`), "30000", tenant.BadMessage},
	"half a kilobit":          {connectWith(`"video":{"bit_rate":0.5}`), "whole number", tenant.BadMessage},
	"a huge number":           {connectWith(`"video":{"bit_rate":1e300}`), "whole number", tenant.BadMessage},
	"zero bit rate":           {connectWith(`"video":{"bit_rate":0}`), "whole number", tenant.BadMessage},
	"fmtp injection":          {connectWith(`"video":{"codec_type":"H264","h264_params":{"profile_level_id":"42\r\na="}}`), "hexadecimal", tenant.BadMessage},
	"signed hex":              {connectWith(`"video":{"codec_type":"H264","h264_params":{"profile_level_id":"+2e01f"}}`), "hexadecimal", tenant.BadMessage},
	"opus injection":          {connectWith(`"audio":{"opus_params":{"minptime":"10;stereo=1"}}`), "audio.opus_params.minptime", tenant.BadMessage},
	"opus flag":               {connectWith(`"audio":{"opus_params":{"usedtx":1}}`), "usedtx must be true or false", tenant.BadMessage},
	"VP9 profile":             {connectWith(`"video":{"vp9_params":{"profile_id":4}}`), "profile_id", tenant.BadMessage},
	"parameters are a list":   {connectWith(`"video":{"vp9_params":[]}`), "vp9_params must be an object", tenant.BadMessage},
	"one stream only":         {connectWith(`"multistream":false`), "multistream", tenant.BadMessage},
	"simulcast without video": {connectWith(`"simulcast":true,"video":false`), "simulcast needs video", tenant.BadMessage},
	"simulcast is a string":   {connectWith(`"simulcast":"yes"`), "simulcast", tenant.BadMessage},
	"simulcast_rid":           {connectWith(`"simulcast_rid":"r3"`), "r0, r1, r2", tenant.BadMessage},
	"spotlight_number":        {connectWith(`"spotlight_number":9`), "1 to 8", tenant.BadMessage},
	"spotlight_focus_rid":     {connectWith(`"spotlight_focus_rid":"high"`), "none, r0", tenant.BadMessage},
	"both filters":            {connectWith(`"forwarding_filter":{},"forwarding_filters":[]`), "forwarding_filters", tenant.BadMessage},
	"data channels alone":     {connectWith(`"data_channel_signaling":false,"data_channels":[{"label":"#a"}]`), "data_channel_signaling", tenant.BadMessage},
	"data channels no list":   {connectWith(`"data_channel_signaling":true,"data_channels":{}`), "array", tenant.BadMessage},
	"data channel no object":  {connectWith(`"data_channel_signaling":true,"data_channels":["#a"]`), "objects", tenant.BadMessage},
	"label without #":         {connectWith(`"data_channel_signaling":true,"data_channels":[{"label":"a"}]`), "#", tenant.BadMessage},
	"label twice":             {connectWith(`"data_channel_signaling":true,"data_channels":[{"label":"#a"},{"label":"#a"}]`), "twice", tenant.BadMessage},
	"two reliabilities":       {connectWith(`"data_channel_signaling":true,"data_channels":[{"label":"#a","max_packet_life_time":1,"max_retransmits":1}]`), "exclude", tenant.BadMessage},
	"label's direction":       {connectWith(`"data_channel_signaling":true,"data_channels":[{"label":"#a","direction":"up"}]`), "direction", tenant.BadMessage},
	"deep":                    {connectWith(`"metadata":` + strings.Repeat("[", 64) + strings.Repeat("]", 64)), "nested", tenant.BadMessage},
	"a nesting bomb":          {strings.Repeat(`{"a":`, 200_000), "object", tenant.BadMessage},
	"too large":               {`{"type":"pong","stats":"` + strings.Repeat("x", 1<<20) + `"}`, "1048576", tenant.TooLarge},
	"large notify metadata":   {connectWith(`"signaling_notify_metadata":"` + strings.Repeat("x", 8<<10) + `"`), "8192", tenant.TooLarge},
	"answer without sdp":      {`{"type":"answer"}`, "sdp is missing", tenant.BadMessage},
	"answer with a number":    {`{"type":"answer","sdp":1}`, "sdp must be a string", tenant.BadMessage},
	"candidate is a list":     {`{"type":"candidate","candidate":[]}`, "candidate must be a string", tenant.BadMessage},
	"candidate of a number":   {`{"type":"candidate","candidate":{"candidate":1}}`, "candidate.candidate must be a string", tenant.BadMessage},
	"disconnect for a list":   {`{"type":"disconnect","reason":[]}`, "reason must be a string", tenant.BadMessage},
}

// connectWith is a connect message with further fields; a field named twice
// counts the second time.
func connectWith(more string) string {
	return `{"type":"connect","role":"sendonly","channel_id":"room",` + more + `}`
}

func TestParseMessageRefuses(t *testing.T) {
	for name, test := range badMessages {
		t.Run(name, func(t *testing.T) {
			m, err := signaling.ParseMessage([]byte(test.data), signaling.Limits{})
			var refusal *tenant.Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("got %+v and error %v, want a refusal", m, err)
			}
			if refusal.Code != test.code || !strings.Contains(refusal.Detail, test.hint) {
				t.Errorf("got %q, want %s with a hint of %q", refusal, test.code, test.hint)
			}
		})
	}
}

func TestParseMessageOfEveryType(t *testing.T) {
	tests := map[string]signaling.Message{
		`{"type":"answer","sdp":"v=0"}`:                                   {Type: "answer", SDP: "v=0"},
		`{"type":"re-answer","sdp":"v=0"}`:                                {Type: "re-answer", SDP: "v=0"},
		`{"type":"update","sdp":"v=0"}`:                                   {Type: "update", SDP: "v=0"},
		`{"type":"candidate","candidate":"candidate:1 1 udp","sdpMid":0}`: {Type: "candidate", Candidate: "candidate:1 1 udp"},
		`{"type":"candidate","candidate":""}`:                             {Type: "candidate"},
		`{"type":"candidate"}`:                                            {Type: "candidate"},
		`{"type":"candidate","candidate":null}`:                           {Type: "candidate"},
		`{"type":"candidate","candidate":{"candidate":"candidate:1 1 udp","sdpMid":"0","sdpMLineIndex":0}}`: {Type: "candidate", Candidate: "candidate:1 1 udp"},
		`{"type":"pong","stats":[{"id":"T01"}]}`:                                                            {Type: "pong", Stats: []byte(`[{"id":"T01"}]`)},
		`{"type":"disconnect","reason":"NO-ERROR"}`:                                                         {Type: "disconnect", Reason: "NO-ERROR"},
		`{"type":"disconnect"}`:                                                                             {Type: "disconnect"},
		`{"type":"sing","song":{"bird":"雲雀"}}`:                                                              {Type: "sing"},
	}
	for data, want := range tests {
		if got, err := signaling.ParseMessage([]byte(data), signaling.Limits{}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", data, got, err, want)
		}
	}
}

func TestParseConnectTakesNamesUpToTheLimit(t *testing.T) {
	for _, name := range []string{"a", strings.Repeat("x", 255), "朝の配信 #1 / 東京", `quote " \ back`, strings.Repeat("y", 255) + "@ten_00000000000000000000000000"} {
		encoded, _ := json.Marshal(name)
		m, err := signaling.ParseMessage(fmt.Appendf(nil, `{"type":"connect","role":"sendonly","channel_id":%s}`, encoded), signaling.Limits{})
		if err != nil || m.Connect.Channel != name {
			t.Errorf("%.40q: got %+v, %v", name, m.Connect, err)
		}
	}
}

// FuzzParseMessage: whatever comes, it is refused with a hint or understood
// within every bound.
func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(sdkConnect))
	f.Add([]byte(`{"type":"connect","role":"upstream","channelId":"room","accessToken":"t","multistream":true}`))
	f.Add([]byte(`{"type":"answer","sdp":"v=0"}`))
	for _, test := range badMessages {
		if len(test.data) < 4096 {
			f.Add([]byte(test.data))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := signaling.ParseMessage(data, signaling.Limits{})
		if err != nil {
			var refusal *tenant.Refusal
			if !errors.As(err, &refusal) || refusal.Detail == "" || (refusal.Code != tenant.BadMessage && refusal.Code != tenant.TooLarge) {
				t.Fatalf("%q: error %v is no refusal with a hint", data, err)
			}
			return
		}
		if m.Type == "" || (m.Type == "connect") != (m.Connect != nil) {
			t.Fatalf("%q: understood as %+v", data, m)
		}
		if m.Connect != nil {
			checkConnect(t, *m.Connect)
		}
	})
}

// FuzzParseConnect fuzzes the fields of a connect in both dialects.
func FuzzParseConnect(f *testing.F) {
	for _, test := range badMessages {
		if i := strings.Index(test.data, `"channel_id":"room",`); i > 0 {
			f.Add(strings.TrimSuffix(test.data[i+20:], "}"))
		}
	}
	f.Add(`"spotlight":true,"spotlight_number":2,"spotlight_unfocus_rid":"none"`)
	f.Add(`"forwarding_filter":{"priority":-1,"rules":[[{"field":"kind","operator":"is_not_in","values":["audio"]}],[]]}`)
	f.Add(`"forwarding_filters":[{"name":"a","action":"allow","rules":[[{"field":"client_id","operator":"is_in","values":["x"]}]],"version":"1","metadata":{}}]`)
	f.Fuzz(func(t *testing.T, more string) {
		for _, start := range []string{`{"type":"connect","role":"sendrecv","channel_id":"room",`, `{"type":"connect","role":"upstream","channelId":"room",`} {
			if m, err := signaling.ParseMessage([]byte(start+more+"}"), signaling.Limits{}); err == nil && m.Connect != nil {
				checkConnect(t, *m.Connect)
			}
		}
	})
}

// checkConnect checks what must hold of every connect that is let through.
func checkConnect(t *testing.T, c signaling.Connect) {
	t.Helper()
	if !c.Role.Sends() && !c.Role.Receives() {
		t.Fatalf("role %q", c.Role)
	}
	if c.Channel == "" || len(c.Channel) > 255+256 || !utf8.ValidString(c.Channel) {
		t.Fatalf("channel %q", c.Channel)
	}
	for _, name := range []string{c.ClientID, c.BundleID} {
		if len(name) > 255 || strings.ContainsAny(name, "\x00\r\n") {
			t.Fatalf("name %q", name)
		}
	}
	if channels := c.DataChannelSignaling != nil && *c.DataChannelSignaling || len(c.DataChannels) > 0; !c.Audio.Enabled && !c.Video.Enabled && !channels {
		t.Fatal("nothing to be here for")
	}
	for _, wish := range []sfu.MediaWish{c.Audio, c.Video} {
		switch wish.Codec {
		case "", "OPUS", "VP8", "VP9", "AV1", "H264":
		default:
			t.Fatalf("codec %q", wish.Codec)
		}
		if wish.BitRate < 0 || wish.BitRate > 30_000 {
			t.Fatalf("bit rate %d", wish.BitRate)
		}
		for name, value := range wish.Params { // these go into the SDP
			if strings.Trim(name+value, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				t.Fatalf("parameter %q=%q", name, value)
			}
		}
	}
	if m := c.Metadata.Authn; m != nil && !json.Valid(m) {
		t.Fatalf("metadata %q", m)
	}
	if s := c.Spotlight; s.Number < 0 || s.Number > 8 || !strings.Contains(" none r0 r1 r2", s.FocusRID) || !strings.Contains(" none r0 r1 r2", s.UnfocusRID) {
		t.Fatalf("spotlight %+v", s)
	}
	size := 0
	for _, filter := range c.Filters {
		if filter.Action != "allow" && filter.Action != "block" {
			t.Fatalf("filter %+v", filter)
		}
		for _, rules := range filter.Rules {
			for _, r := range rules {
				size += len(r.Values)
				if r.Operator != "is_in" && r.Operator != "is_not_in" || r.Field != "kind" && r.Field != "connection_id" && r.Field != "client_id" {
					t.Fatalf("rule %+v", r)
				}
			}
		}
	}
	if size > 1024 {
		t.Fatalf("filters of %d values", size)
	}
}
