package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coder/websocket"
)

// Why a stream was closed, besides the codes of RFC 6455.
const (
	closeSlow    websocket.StatusCode = 4408 // the reader did not keep up; the reason has the last seq
	closeExpired websocket.StatusCode = 4410 // events after the position are no longer served
)

// How a stream ends by itself.
var (
	errDead    = errors.New("the client answers no pings")
	errRevoked = errors.New("the API key no longer opens this stream")
)

// slowError says that the client did not keep up.
type slowError struct{ seq int64 }

func (e *slowError) Error() string {
	return fmt.Sprintf("slow_consumer: last seq %d; reconnect with after=%d", e.seq, e.seq)
}

// closeStream closes the socket with the code that tells the client, which has
// everything up to seq, what to do. A reason has at most 123 bytes (RFC 6455 §5.5).
func closeStream(conn *websocket.Conn, err error, seq int64) {
	var slow *slowError
	var expired *ExpiredError
	switch {
	case errors.As(err, &slow):
		conn.Close(closeSlow, slow.Error())
	case errors.As(err, &expired):
		conn.Close(closeExpired, fmt.Sprintf("expired: the first event here is %d; go on with after=%d, or GET /v1/events", expired.From, expired.From-1))
	case errors.Is(err, ErrAhead):
		conn.Close(websocket.StatusPolicyViolation, "bad_message: after is greater than the seq of the last event")
	case errors.Is(err, errRevoked):
		conn.Close(websocket.StatusPolicyViolation, fmt.Sprintf("unauthorized: the API key no longer opens this stream; last seq %d", seq))
	case errors.Is(err, ErrClosed):
		conn.Close(websocket.StatusGoingAway, fmt.Sprintf("draining: reconnect with after=%d", seq))
	case errors.Is(err, context.Canceled), errors.Is(err, errDead), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		conn.CloseNow()
	default:
		conn.Close(websocket.StatusTryAgainLater, "unavailable: reconnect in a few seconds with after= the last seq you saw")
	}
}
