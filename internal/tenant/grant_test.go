package tenant_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// fullGrant sets every field of a Grant, each to something that ReadGrant leaves
// as it is.
const fullGrant = `{
	"client_id": "alice", "bundle_id": "household",
	"audio": true, "audio_codec_type": "OPUS", "audio_bit_rate": 64,
	"audio_opus_params": {"channels":2,"clock_rate":48000,"maxplaybackrate":16000,"minptime":10,"ptime":20,"stereo":false,"sprop_stereo":false,"useinbandfec":true,"usedtx":true},
	"video": true, "video_codec_type": "H264", "video_bit_rate": 1500,
	"video_vp9_params": {"profile_id":2}, "video_av1_params": {"profile":1},
	"video_h264_params": {"profile_level_id":"42e01f","b_frame":false}, "video_h265_params": {"level_id":93,"b_frame":true},
	"simulcast": true, "simulcast_rid": "r1", "simulcast_request_rid": "none", "simulcast_rpc_rids": ["r0","auto"], "simulcast_multicodec": false,
	"simulcast_encodings": [
		{"rid":"r0","active":true,"maxBitrate":200000,"minBitrate":50000,"maxFramerate":7.5,"scaleResolutionDownBy":4,"adaptivePtime":true,"scalabilityMode":"L1T1"},
		{"rid":"r2","active":false,"scaleResolutionDownTo":{"maxWidth":640,"maxHeight":360}}],
	"spotlight": true, "spotlight_number": 3, "spotlight_focus_rid": "r2", "spotlight_unfocus_rid": "none", "spotlight_encodings": [{"rid":"r0"}],
	"data_channel_signaling": true, "ignore_disconnect_websocket": false,
	"data_channels": [
		{"label":"#chat","direction":"sendrecv","ordered":true,"compress":true,"header":[{"type":"sender_connection_id"}]},
		{"label":"#game","direction":"recvonly","ordered":false,"max_retransmits":0,"protocol":"x","compress":false}],
	"signaling_notify": false, "signaling_notify_metadata": {"team":"<red>"}, "signaling_notify_metadata_ext": [1,2.50],
	"signaling_notify_ice_connection_state": true,
	"rtc_stats": false, "rpc_methods": ["2025.2.0/RequestSimulcastRid"], "connection_lifetime": 600, "max_channel_connections": 12, "duplicate_client_id": "replace",
	"forwarding_filters": [{"name":"f","priority":10,"action":"block","rules":[[{"field":"kind","operator":"is_in","values":["audio"]}],[]],"version":"v","metadata":1}],
	"metadata": "hello", "event_metadata": {"order":1},
	"audio_streaming_language_code": "ja-JP",
	"turn_tcp_only": true, "turn_tls_only": false, "turn_fqdn": "turn.example.com", "turn_tls_fqdn": "turns.example.com",
	"ipv4_address": "192.0.2.1", "ipv6_address": "2001:db8::1"
}`

// Every field of a Grant is read and written under its name.
func TestGrantIsReadWhole(t *testing.T) {
	g, err := tenant.ReadGrant([]byte(fullGrant))
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(g)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s was not read", v.Type().Field(i).Name)
		}
	}
	if got, want := decode(t, marshalGrant(t, g)), decode(t, []byte(fullGrant)); !reflect.DeepEqual(got, want) {
		t.Errorf("read and written again:\n%v\nwant\n%v", got, want)
	}
}

// What has two spellings is read in both.
func TestGrantSpellings(t *testing.T) {
	for _, test := range []struct{ written, means string }{
		{`{"audio":{"codec_type":"opus","bit_rate":32,"opus_params":{"usedtx":true}},"video":{"codec_type":"vp8","bit_rate":500}}`,
			`{"audio":true,"audio_codec_type":"OPUS","audio_bit_rate":32,"audio_opus_params":{"usedtx":true},"video":true,"video_codec_type":"VP8","video_bit_rate":500}`},
		{`{"user_agent_stats":false}`, `{"rtc_stats":false}`},
		{`{"forwarding_filters":[{"rules":[]}]}`, `{"forwarding_filters":[{"action":"block","rules":[]}]}`},
		{`{"forwarding_filter":{"action":"allow","rules":[]}}`, `{"forwarding_filters":[{"action":"allow","rules":[]}]}`},
		{`{"data_channels":[{"label":"#a"}]}`, `{"data_channels":[{"label":"#a","direction":"sendrecv","ordered":true,"compress":false}]}`},
		{`{"data_channels":[],"simulcast_rpc_rids":[],"rpc_methods":[],"forwarding_filters":[]}`, `{"simulcast_rpc_rids":[],"data_channels":[],"rpc_methods":[],"forwarding_filters":[]}`},
		{`{"video":null,"client_id":null,"anything":{"else":1}}`, `{}`},
	} {
		g, err := tenant.ReadGrant([]byte(test.written))
		if err != nil {
			t.Errorf("%s: %v", test.written, err)
		} else if got := string(marshalGrant(t, g)); got != test.means {
			t.Errorf("%s means %s, want %s", test.written, got, test.means)
		}
	}
}

// A mistake is named by the field it is in.
func TestGrantMistakes(t *testing.T) {
	for _, test := range []struct{ written, field string }{
		{`[]`, "it"},
		{`null`, "it"},
		{`{"client_id":""}`, "client_id"},
		{`{"bundle_id":7}`, "bundle_id"},
		{`{"audio":"yes"}`, "audio"},
		{`{"audio_bit_rate":5}`, "audio_bit_rate"},
		{`{"audio_codec_type":"G722"}`, "audio_codec_type"},
		{`{"audio":{"bit_rate":511}}`, "audio.bit_rate"},
		{`{"audio_opus_params":{"stereo":1}}`, "audio_opus_params.stereo"},
		{`{"video":1}`, "video"},
		{`{"video_codec_type":"H265"}`, "video_codec_type"},
		{`{"video_bit_rate":30001}`, "video_bit_rate"},
		{`{"video_vp9_params":{"profile_id":4}}`, "video_vp9_params.profile_id"},
		{`{"video_av1_params":[]}`, "video_av1_params"},
		{`{"video_h264_params":{"profile_level_id":"42e0"}}`, "video_h264_params.profile_level_id"},
		{`{"simulcast":"true"}`, "simulcast"},
		{`{"simulcast_rid":"none"}`, "simulcast_rid"},
		{`{"simulcast_rpc_rids":["r3"]}`, "simulcast_rpc_rids"},
		{`{"simulcast_encodings":[{"rid":"r1"},{"rid":"r0"}]}`, "simulcast_encodings"},
		{`{"simulcast_encodings":[{}]}`, "simulcast_encodings.rid"},
		{`{"simulcast_encodings":[{"rid":"r0","scaleResolutionDownBy":0.5}]}`, "simulcast_encodings.scaleResolutionDownBy"},
		{`{"simulcast_encodings":[{"rid":"r0","scaleResolutionDownTo":{"maxWidth":1}}]}`, "simulcast_encodings.scaleResolutionDownTo"},
		{`{"spotlight_number":9}`, "spotlight_number"},
		{`{"data_channels":[{"label":"chat"}]}`, "data_channels.label"},
		{`{"data_channels":[{"label":"#a"},{"label":"#a"}]}`, "data_channels.label"},
		{`{"data_channels":[{"label":"#a","max_retransmits":1,"max_packet_life_time":1}]}`, "data_channels.max_packet_life_time"},
		{`{"data_channels":[{"label":"#a","max_retransmits":65536}]}`, "data_channels.max_retransmits"},
		{`{"data_channels":[{"label":"#a","header":[{"type":"mine"}]}]}`, "data_channels.header.type"},
		{`{"data_channels":{}}`, "data_channels"},
		{`{"data_channels":[1]}`, "data_channels"},
		{`{"signaling_notify_metadata":"` + strings.Repeat("x", 8<<10) + `"}`, "signaling_notify_metadata"},
		{`{"event_metadata":"\u0000"}`, "event_metadata"},
		{`{"metadata":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "metadata"},
		{`{"rpc_methods":"all"}`, "rpc_methods"},
		{`{"rpc_methods":[""]}`, "rpc_methods"},
		{`{"connection_lifetime":0}`, "connection_lifetime"},
		{`{"max_channel_connections":0}`, "max_channel_connections"},
		{`{"max_channel_connections":"2"}`, "max_channel_connections"},
		{`{"duplicate_client_id":"kick"}`, "duplicate_client_id"},
		{`{"connection_lifetime":1.5}`, "connection_lifetime"},
		{`{"forwarding_filter":{},"forwarding_filters":[]}`, "forwarding_filter"},
		{`{"forwarding_filters":[{"action":"drop","rules":[]}]}`, "forwarding_filters.action"},
		{`{"forwarding_filters":[{"rules":[` + strings.Repeat(`[],`, 20) + `[` + strings.Repeat(`{"field":"kind","operator":"is_in","values":[]},`, 29) +
			`{"field":"client_id","operator":"is_in","values":["x"` + strings.Repeat(`,"x"`, 100) + `]}]]}` + strings.Repeat(`,{"rules":[[{"field":"client_id","operator":"is_in","values":["x"`+strings.Repeat(`,"x"`, 100)+`]}]]}`, 9) + `]}`, "forwarding_filters"},
		{`{"forwarding_filters":[{"action":"block"}]}`, "forwarding_filters.rules"},
		{`{"forwarding_filters":[{"action":"block","rules":[{}]}]}`, "forwarding_filters.rules"},
		{`{"forwarding_filters":[{"action":"block","rules":[[{"field":"kind","operator":"is_in","values":["smell"]}]]}]}`, "forwarding_filters.rules.values"},
		{`{"turn_tcp_only":0}`, "turn_tcp_only"},
		{`{"ipv4_address":"2001:db8::1"}`, "ipv4_address"},
		{`{"ipv6_address":"fe80::1%eth0"}`, "ipv6_address"},
	} {
		g, err := tenant.ReadGrant([]byte(test.written))
		var field *tenant.FieldError
		if !errors.As(err, &field) || field.Field != test.field || field.Problem == "" {
			t.Errorf("%.80s: %v, want a mistake in %s", test.written, err, test.field)
		}
		if !reflect.DeepEqual(g, tenant.Grant{}) {
			t.Errorf("%.80s: granted %+v all the same", test.written, g)
		}
	}
}

// What is granted later wins, but for the shorter life.
func TestGrantOver(t *testing.T) {
	read := func(text string) tenant.Grant {
		g, err := tenant.ReadGrant([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	full := read(fullGrant)
	for _, test := range []struct {
		later, before tenant.Grant
		want          string
	}{
		{read(`{"video":false,"client_id":"b","data_channels":[]}`), read(`{"video":true,"client_id":"a","bundle_id":"x","data_channels":[{"label":"#a"}]}`), `{"client_id":"b","bundle_id":"x","video":false,"data_channels":[]}`},
		{read(`{"connection_lifetime":20}`), read(`{"connection_lifetime":10}`), `{"connection_lifetime":10}`},
		{read(`{"connection_lifetime":10}`), read(`{"connection_lifetime":20}`), `{"connection_lifetime":10}`},
		{read(`{"connection_lifetime":10}`), tenant.Grant{}, `{"connection_lifetime":10}`},
		{tenant.Grant{}, read(`{"connection_lifetime":10}`), `{"connection_lifetime":10}`},
		{full, tenant.Grant{}, string(marshalGrant(t, full))},
		{tenant.Grant{}, full, string(marshalGrant(t, full))},
	} {
		if got := string(marshalGrant(t, test.later.Over(test.before))); got != test.want {
			t.Errorf("granted %s, want %s", got, test.want)
		}
	}
}

// FuzzGrant reads any text as a grant: what is taken is written so that it is
// read again as the same, and Postgres takes what goes into events.
func FuzzGrant(f *testing.F) {
	h := newHouse(f)
	f.Add([]byte(fullGrant))
	f.Add([]byte(`{"audio":{"codec_type":"opus"},"metadata":{"a":"<\u2028>","\ud800":1e-400,"b":1E5},"forwarding_filter":{"action":"allow","rules":[[]]}}`))
	f.Add([]byte(`{"data_channels":[],"simulcast_encodings":[{"rid":"r0"}],"connection_lifetime":1e0}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := tenant.ReadGrant(text)
		if err != nil {
			if !errors.As(err, new(*tenant.FieldError)) {
				t.Fatalf("ReadGrant(%q) = %v, want a FieldError", text, err)
			}
			return
		}
		written := marshalGrant(t, g)
		again, err := tenant.ReadGrant(written)
		if err != nil || !reflect.DeepEqual(again, g) {
			t.Errorf("%q was read as\n%+v\nwritten as %s and read again as\n%+v, %v", text, g, written, again, err)
		}
		if g.EventMetadata == nil {
			return
		}
		if _, err := h.pool.Exec(t.Context(), `select $1::jsonb`, g.EventMetadata); err != nil {
			t.Errorf("Postgres does not take the metadata %q: %v", g.EventMetadata, err)
		}
	})
}

// marshalGrant writes a grant without escapes for HTML: its raw JSON has none.
func marshalGrant(t *testing.T, g tenant.Grant) []byte {
	t.Helper()
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(g); err != nil {
		t.Fatal(err)
	}
	return []byte(strings.TrimSpace(text.String()))
}

func decode(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
