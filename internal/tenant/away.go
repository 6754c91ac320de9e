package tenant

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// DatabaseAway reports whether err says that the database could not be asked:
// it is down, starting, full of clients, or did not answer in time. What was
// wanted may succeed in a moment. It is false for what the database refused,
// and when the caller itself gave up.
func DatabaseAway(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var said *pgconn.PgError
	if errors.As(err, &said) {
		// Class 08: connection exception; 53300: too many connections; 57P:
		// shut down, crashed or not yet up.
		return strings.HasPrefix(said.Code, "08") || said.Code == "53300" || strings.HasPrefix(said.Code, "57P")
	}
	var network net.Error // context.DeadlineExceeded, too
	return errors.As(err, &network) || errors.As(err, new(*pgconn.ConnectError)) ||
		errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err)
}
