package signaling_test

// The official SDKs of today's dialect that can't run in these tests, by what
// their readers of JSON insist on. A line is a field's path, its kind, and
//
//	!  it must be there, and not be null
//	~  it may be left out, but must not be null
//	?  it may be left out or null
//
// "[]" in a path is every element of an array. What is below a field that isn't
// there is not looked for. A kind of message that a family has no lines for, it
// hands on as it is.
var families = map[string]map[string]string{
	// boost::json's at() throws for what isn't there, as_…() for another kind,
	// null included. Python, Unity, C, Flutter and Momo are built on it.
	"C++": {
		"offer": `
			sdp id!
			connection_id id!
			mid object~
			mid.audio text~
			mid.video text~
			multistream flag~
			simulcast flag~
			spotlight flag~
			config.iceServers list!
			config.iceServers[].urls texts!
			config.iceServers[].username text!
			config.iceServers[].credential text!
			data_channels list~
			data_channels[].label id!
			data_channels[].compress flag!
			encodings list~
			encodings[].rid id!
			encodings[].active flag~
			encodings[].adaptivePtime flag~
			encodings[].maxBitrate number~
			encodings[].minBitrate number~
			encodings[].maxFramerate number~
			encodings[].scaleResolutionDownBy number~
			encodings[].scalabilityMode text~
			encodings[].scaleResolutionDownTo object~
			encodings[].scaleResolutionDownTo.maxWidth number!
			encodings[].scaleResolutionDownTo.maxHeight number!`,
		"re-offer": `sdp id!`,
		"ping":     `stats flag~`,
		"switched": `ignore_disconnect_websocket flag~`,
		"redirect": `location id!`,
		"close": `
			code number!
			reason text!`,
	},
	// Gson puts null into fields that Kotlin declares without one, and the
	// application falls over it.
	"Android": {
		"offer":    mobileOffer,
		"re-offer": `sdp id!`,
		"switched": `ignore_disconnect_websocket flag?`,
		"redirect": `location id!`,
		"close": `
			code whole!
			reason text!`,
		"notify": mobileNotify,
	},
	// Swift's decode(forKey:) throws; decodeIfPresent(forKey:) takes null, too.
	"iOS": {
		"offer":    mobileOffer,
		"re-offer": `sdp id!`,
		"ping":     `stats flag?`,
		"switched": `ignore_disconnect_websocket flag!`,
		"redirect": `location id!`,
		"close": `
			code whole!
			reason text!`,
		"notify": mobileNotify,
		"rpc": `
			jsonrpc text!
			id whole?
			error object~
			error.code whole!
			error.message text!`,
	},
	// It refuses types that it doesn't know, a candidate by name.
	"Rust": {
		"offer": `
			sdp id!
			simulcast flag~
			config.iceServers list!
			config.iceServers[].urls texts!
			config.iceServers[].username text~
			config.iceServers[].credential text~
			data_channels list~
			data_channels[].label id!
			data_channels[].compress flag!
			data_channels[].direction role!
			encodings list~
			encodings[].rid id!
			encodings[].active flag~
			encodings[].adaptivePtime flag~
			encodings[].maxBitrate whole~
			encodings[].minBitrate whole~
			encodings[].maxFramerate number~
			encodings[].scaleResolutionDownBy number~
			encodings[].scalabilityMode text~
			encodings[].scaleResolutionDownTo object~
			encodings[].scaleResolutionDownTo.maxWidth whole!
			encodings[].scaleResolutionDownTo.maxHeight whole!`,
		"re-offer": `
			sdp id!
			config.iceServers list~`,
		"ping":      `stats flag~`,
		"req-stats": ``,
		"notify":    ``,
		"push":      ``,
		"switched":  `ignore_disconnect_websocket flag~`,
		"redirect":  `location id!`,
		"close":     ``,
		"rpc": `
			jsonrpc text!
			id whole?
			error object~
			error.code whole!
			error.message text!`,
	},
	// It reads leniently; its applications, and its own tests, don't.
	"JavaScript": {
		"offer": `
			sdp id!
			connection_id id!
			client_id id!
			bundle_id id!
			session_id id!
			simulcast flag!
			spotlight flag!
			mid object!
			config object!`,
		"re-offer": `sdp id!`,
		"ping":     `stats flag!`,
		"push":     `data any!`,
		"switched": `ignore_disconnect_websocket flag!`,
		"notify": `
			event_type text!
			timestamp text!`,
		"connection.created":   connectionEvent,
		"connection.updated":   connectionEvent,
		"connection.destroyed": connectionEvent,
		"simulcast.switched": `
			sender_connection_id text?
			current_rid id!
			previous_rid text?
			request_rid text?
			rpc_rids texts~
			auto_rids texts~`,
		"spotlight.focused":   spotlightEvent,
		"spotlight.unfocused": spotlightEvent,
		"forwarding.allowed":  forwardingEvent,
		"forwarding.blocked":  forwardingEvent,
	},
}

// What Android and iOS want alike, by the stricter of the two.
const (
	mobileOffer = `
			sdp id!
			version text?
			simulcast flag~
			simulcast_multicodec flag?
			spotlight flag?
			channel_id text?
			client_id id!
			bundle_id text?
			connection_id id!
			session_id text?
			config object?
			config.iceServers list!
			config.iceServers[].urls texts!
			config.iceServers[].username text!
			config.iceServers[].credential text!
			config.iceTransportPolicy policy!
			mid object?
			mid.audio text~
			mid.video text~
			encodings list?
			encodings[].rid text?
			encodings[].active flag?
			encodings[].maxBitrate whole?
			encodings[].maxFramerate number?
			encodings[].scaleResolutionDownBy number?
			encodings[].scalabilityMode text?
			encodings[].scaleResolutionDownTo object?
			encodings[].scaleResolutionDownTo.maxWidth whole!
			encodings[].scaleResolutionDownTo.maxHeight whole!
			data_channels list?
			data_channels[].label id!
			data_channels[].compress flag?
			rpc_methods texts?
			audio flag?
			audio_codec_type text?
			audio_bit_rate whole?
			video flag?
			video_codec_type text?
			video_bit_rate whole?`
	mobileNotify = `
			event_type text!
			timestamp text!
			role role?
			session_id text?
			client_id text?
			bundle_id text?
			connection_id text?
			spotlight_number whole?
			audio flag?
			video flag?
			minutes whole?
			channel_connections whole?
			channel_sendrecv_connections whole?
			channel_sendonly_connections whole?
			channel_recvonly_connections whole?
			spotlight_id text?
			fixed flag?
			unstable_level whole?
			turn_transport_type text?
			kind text?
			destination_connection_id text?
			source_connection_id text?
			recv_connection_id text?
			send_connection_id text?
			stream_id text?
			failed_connection_id text?
			current_state text?
			previous_state text?`
)

const (
	connectionEvent = `
			role role!
			session_id id!
			client_id id!
			bundle_id id!
			connection_id id!
			audio flag!
			video flag!
			minutes whole!
			channel_connections whole!
			channel_sendrecv_connections whole!
			channel_sendonly_connections whole!
			channel_recvonly_connections whole!
			turn_transport_type transport!
			data list~
			data[].client_id id!
			data[].bundle_id id!
			data[].connection_id id!`
	spotlightEvent = `
			client_id id!
			connection_id id!
			bundle_id id!
			audio flag!
			video flag!
			fixed flag!`
	forwardingEvent = `
			kind text!
			destination_connection_id id!
			source_connection_id id!`
)
