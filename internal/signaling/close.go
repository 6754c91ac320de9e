package signaling

import (
	"errors"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/tenant"
)

// CodeRefused is the WebSocket close code of a client that was refused or
// broke the protocol; the reason is "code: hint".
const CodeRefused websocket.StatusCode = 4490

// closeReasonBytes is the most a close frame has room for (RFC 6455 §5.5).
const closeReasonBytes = 123

// Close reasons of an orderly end, always with code 1000, so that no client takes
// it for an accident and comes back by itself: Sora's words, which client code
// compares, and some of our own.
const (
	ReasonTypeDisconnect  = "TYPE-DISCONNECT"  // the client said disconnect
	ReasonDisconnectedAPI = "DISCONNECTED-API" // the tenant ended it, by API or in the console
	ReasonLifetimeExpired = "LIFETIME-EXPIRED" // the token's max_duration passed
	ReasonServerShutdown  = "SERVER-SHUTDOWN"  // the node stops; connect again
	ReasonBanned          = "BANNED"           // the tenant barred it; to connect again is of no use
	ReasonReplaced        = "REPLACED"         // another client came with its client_id; to connect again would replace that
)

// farewell is how a session ends: the close frame for the client, and the
// reason for everybody else.
type farewell struct {
	code   websocket.StatusCode // 0: the socket is gone already
	reason string
	end    string // a tenant.End constant or the client's own word
	// byChannel: the client said goodbye on a DataChannel and waits for these to
	// be closed.
	byChannel bool
}

// refused is the farewell of a client that is not let in, or broke the
// protocol afterwards.
func refused(err error) farewell {
	var refusal *tenant.Refusal
	if !errors.As(err, &refusal) {
		refusal = tenant.Refuse(tenant.Unavailable, "try again in a few seconds")
	}
	end := tenant.EndProtocol
	if refusal.Code == tenant.RateLimited {
		end = tenant.EndRateLimited
	}
	return farewell{code: CodeRefused, reason: cutText(refusal.ForClient(), closeReasonBytes), end: end}
}

// tooLate is the farewell of a client that did not do its part in time.
func tooLate(end, hint string) farewell {
	return farewell{code: CodeRefused, reason: cutText(end+": "+hint, closeReasonBytes), end: end}
}

// ended is the farewell for a connection that ended by itself or on somebody
// else's word.
func ended(reason string) farewell {
	orderly := func(word string) farewell {
		return farewell{code: websocket.StatusNormalClosure, reason: word, end: reason}
	}
	switch reason {
	case tenant.EndClient:
		return orderly(ReasonTypeDisconnect)
	case tenant.EndAPI, tenant.EndConsole:
		return orderly(ReasonDisconnectedAPI)
	case tenant.EndLifetime:
		return orderly(ReasonLifetimeExpired)
	case tenant.EndShutdown:
		return orderly(ReasonServerShutdown)
	case tenant.EndBanned:
		return orderly(ReasonBanned)
	case tenant.EndReplaced:
		return orderly(ReasonReplaced)
	case tenant.EndNoPlace:
		return farewell{code: CodeRefused, reason: "unavailable: the platform's node was cut off, and another has the place now; connect again", end: reason}
	case tenant.EndSpendCap:
		return farewell{code: CodeRefused, reason: "spend_cap_reached: the tenant's spending cap is reached, and it ends connections; raise it in the console", end: reason}
	case tenant.EndPeerLeft:
		return orderly("") // Ayame's bye said it
	case tenant.EndTimeout:
		return tooLate(reason, "no media or signalling came from the client any longer; check its network")
	case tenant.EndSetupTimeout:
		return tooLate(reason, "media did not connect; check that UDP to the platform's media port is open")
	case tenant.EndProtocol:
		return farewell{code: CodeRefused, reason: "bad_message: the client broke the signalling protocol or did not read its messages", end: reason}
	case tenant.EndRateLimited:
		return farewell{code: CodeRefused, reason: "rate_limited: too many messages or bytes a second on the data channels; send fewer", end: reason}
	}
	return farewell{code: websocket.StatusInternalError, reason: "failed: the channel broke on our side; connect again", end: reason}
}

// clientEnd is the end reason for a client's disconnect message: its own word
// if that looks like one of Sora's titles (CONNECTION-STATE-FAILED), so that
// it can't be taken for one of ours.
func clientEnd(word string) string {
	if word == "" || word == "NO-ERROR" || len(word) > 64 {
		return tenant.EndClient
	}
	for _, r := range word {
		if (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return tenant.EndClient
		}
	}
	return word
}

// cutText returns the longest beginning of s that has at most limit bytes and
// ends between two characters.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
