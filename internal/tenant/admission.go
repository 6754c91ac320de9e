package tenant

import (
	"encoding/json"
	"time"
)

// Claim is what a verified access token allows.
type Claim struct {
	Tenant      ID
	KeyID       string          // the signing key
	Channel     string          // exact, or a prefix ending in "*"
	Roles       []Role          // empty: any
	JTI         string          // "": none
	TokenHash   [32]byte        // SHA-256 of the token (ES256: without its signature), what a token ban names
	ExpiresAt   time.Time       // when the token ends; checked at connect only
	MaxDuration time.Duration   // 0: none
	Metadata    json.RawMessage // the token's metadata claim, handed to events and webhooks; nil: none
	Grant       Grant           // what else the token decides
	AuthWebhook *AuthWebhook    // who else is to be asked; nil: nobody
	Duplicates  Duplicates      // the tenant's own policy, unless Grant has one; "": DuplicatesAllow
}

// ProtocolAyame is the Protocol of peer-to-peer connections: their media does
// not pass the platform, so that no bytes are known.
const ProtocolAyame = "ayame"

// Opening asks for a licence place for one connection.
type Opening struct {
	ConnectionID   string
	Tenant         ID
	Channel        string
	Role           Role
	ClientID       string
	Protocol       string // sora, sora2015, whip, whep, ayame
	KeyID          string
	TokenHash      [32]byte
	TokenExpiresAt time.Time
	Metadata       json.RawMessage
	RemoteAddress  string
	UserAgent      string
	// MaxChannelConnections refuses it as channel_full if the channel has as many
	// connections already; 0: the licence alone says how many there may be.
	MaxChannelConnections int
	Duplicates            Duplicates // "": DuplicatesAllow
	Profile               Profile    // of how it signals, for lists
}

// Subject is what a ban may name the connection by.
func (o Opening) Subject() Subject {
	return Subject{Tenant: o.Tenant, Channel: o.Channel, ConnectionID: o.ConnectionID, ClientID: o.ClientID, TokenHash: o.TokenHash}
}

// Duplicates is what becomes of a client whose client_id is in its channel
// already. A client without one is known by its connection's id, which nobody
// else has.
type Duplicates string

// The policies for duplicate client ids, counted per channel.
const (
	DuplicatesAllow   Duplicates = "allow"   // both stay
	DuplicatesRefuse  Duplicates = "refuse"  // the newcomer is refused, as channel_denied
	DuplicatesReplace Duplicates = "replace" // the newcomer takes the place; who had it is ended, as EndReplaced
)

// PeerToPeer reports whether its media will not pass the platform.
func (o Opening) PeerToPeer() bool { return o.Protocol == ProtocolAyame }

// Elsewhere is the error of an Opening on a node that is not its channel's: the
// client has to go there.
type Elsewhere struct {
	NodeID    string
	PublicURL string // what the node is reached by, such as https://a.example.com; without a path
	Draining  bool   // the channel is nowhere yet, and the node that was asked takes no new ones
}

// Error says where.
func (e *Elsewhere) Error() string { return "the channel lives on another node: " + e.PublicURL }

// Arrival is a client with a good token that asks to come in, as its tenant's
// auth webhook is told of it.
type Arrival struct {
	Opening
	AccessToken string          // what the client showed
	Said        json.RawMessage // connect.metadata, the client's own words; nil: none
	Client      string          // the client software's name of itself; "": none
	Environment string          // and of what it runs on
	Libwebrtc   string          // and of its WebRTC library
	Test        bool            // nobody comes: a member tries the auth webhook
	Wish        Grant           // what it asks for, in the words of a grant
	Counts      Counts          // of the channel, without it
}

// Opened is the answer to an Opening that found a place.
type Opened struct {
	SessionID string
	Counts    Counts // of the channel, this connection included
	// Replaced are the connections whose places it took over (DuplicatesReplace).
	// In the books they have ended; their media is still to be.
	Replaced []string
}

// Counts says how many connections a channel has, in all and by role.
type Counts struct {
	Connections int `json:"channel_connections"`
	SendRecv    int `json:"channel_sendrecv_connections"`
	SendOnly    int `json:"channel_sendonly_connections"`
	RecvOnly    int `json:"channel_recvonly_connections"`
}

// Ending is how a connection ended.
type Ending struct {
	Reason            string        // one of the End constants, or a client's own word
	Duration          time.Duration // since its media connected, on the node's monotonic clock; 0 if it never did
	Ago               time.Duration // since it ended, on the same clock; the ledger may be told late
	BytesIn, BytesOut int64         // of media and data messages, received from and sent to the client
	// Said is what the caller of the API that ended it said about why; nil: nothing,
	// or it ended otherwise.
	Said json.RawMessage `json:",omitempty"`
}

// Why a connection ended, as events and the console name it.
const (
	EndClient       = "client"        // the client said goodbye or closed its socket
	EndAPI          = "api"           // Action API or REST
	EndConsole      = "console"       // a member clicked Disconnect
	EndTimeout      = "timeout"       // the client's network went silent
	EndSetupTimeout = "setup_timeout" // the client never finished ICE and DTLS
	EndLifetime     = "lifetime"      // the token's max_duration passed
	EndShutdown     = "shutdown"      // the node was stopped
	EndNodeLost     = "node_lost"     // the node died; closed by lease
	EndNoPlace      = "no_place"      // the node was taken for dead and came back, and the place is another's now
	EndFailed       = "failed"        // something broke in the channel's worker
	EndProtocol     = "protocol"      // the client broke the signalling protocol
	EndPeerLeft     = "peer_left"     // the other side of a peer-to-peer call left, or was ended
	EndRateLimited  = "rate_limited"  // the client sent more messages on data channels than it may
	EndBanned       = "banned"        // a ban came to name it
	EndReplaced     = "replaced"      // another came with its client_id
	EndSpendCap     = "spend_cap"     // the tenant's spending has reached its cap, which ends connections
)
