package tenant

import "encoding/json"

// MaxReasonBytes and maxReasonDepth bound what a caller of the API may say about why it
// ends connections: it stands in an event of each.
const (
	MaxReasonBytes = 2 << 10
	maxReasonDepth = 16
)

// Parting is why somebody ends a connection, as its events tell. Static.
type Parting struct {
	Reason string          // one of the End constants
	Said   json.RawMessage // what the caller of the API said about it; nil: nothing
}

// NewAPIReason checks what a caller of the API says about why it ends connections: a
// JSON object or a string. nil and null say nothing. The error is a *Refusal.
func NewAPIReason(said json.RawMessage) (json.RawMessage, error) {
	if len(said) == 0 {
		return nil, nil
	}
	v, err := decodeNumbers(said)
	if err != nil || !json.Valid(said) {
		return nil, Refuse(BadMessage, "reason must be a JSON object or a string")
	}
	switch v.(type) {
	case nil:
		return nil, nil
	case string, map[string]any:
	default:
		return nil, Refuse(BadMessage, "reason must be a JSON object or a string")
	}
	if !storableJSON(v, maxReasonDepth) {
		return nil, Refuse(BadMessage, `reason must not contain \u0000, huge numbers or more than %d levels`, maxReasonDepth)
	}
	text, err := marshal(v) // what is no UTF-8, and half a surrogate, is replaced
	if err != nil {
		return nil, Refuse(BadMessage, "reason must be a JSON object or a string")
	}
	if len(text) > MaxReasonBytes {
		return nil, Refuse(TooLarge, "reason has at most %d bytes", MaxReasonBytes)
	}
	return text, nil
}

// Choice says which of a tenant's live connections are meant; what is empty is
// anybody's. Static.
type Choice struct {
	Channel   string
	SessionID string // of the channel
	ClientID  string
	Role      Role
}

// Profile is how a connection signals and what was agreed with it, as the lists of
// the Action API show it. Its JSON is kept in the ledger.
type Profile struct {
	BundleID                  string `json:"bundle_id,omitempty"`
	Audio                     bool   `json:"audio"`
	AudioCodec                string `json:"audio_codec_type,omitempty"`
	AudioBitRate              int    `json:"audio_bit_rate,omitempty"` // kbit/s
	Video                     bool   `json:"video"`
	VideoCodec                string `json:"video_codec_type,omitempty"`
	VideoBitRate              int    `json:"video_bit_rate,omitempty"` // kbit/s
	Simulcast                 bool   `json:"simulcast"`
	Spotlight                 bool   `json:"spotlight"`
	DataChannelSignaling      bool   `json:"data_channel_signaling"`
	IgnoreDisconnectWebSocket bool   `json:"ignore_disconnect_websocket"`
}
