package billing

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// Live is one live connection as pages and APIs show it.
type Live struct {
	ConnectionID   string
	Channel        string
	SessionID      string
	NodeID         string
	Role           tenant.Role
	ClientID       string
	Protocol       string // sora, sora2015, whip, whep, ayame
	KeyID          string // the signing key of its token; "": none
	TokenHash      [32]byte
	TokenExpiresAt time.Time       // zero: never
	Metadata       json.RawMessage // nil: none
	RemoteAddress  string
	UserAgent      string
	OpenedAt       time.Time
	ConnectedAt    time.Time // zero: its media has not connected
	Seconds        int64     // since ConnectedAt, on the database's clock; for an ended one what is billed
	BytesIn        int64     // as of the last beat
	BytesOut       int64
}

// History is one connection, live or ended.
type History struct {
	Live
	Minutes   int64     // billed so far
	EndedAt   time.Time // zero: live
	EndReason string
}

// LiveQuery chooses among a tenant's live connections, newest first.
type LiveQuery struct {
	Channel string // "": all channels
	After   string // the connection id that the last page ended with; "": from the newest
	Limit   int    // 1 to 1000; 0: 100
}

// Channel is one live channel.
type Channel struct {
	Channel   string
	SessionID string
	StartedAt time.Time
	Counts    tenant.Counts
}

// Live returns the tenant's live connections, newest first. next continues the
// listing as LiveQuery.After; "" means that there are no more.
func (l *Ledger) Live(ctx context.Context, scope tenant.Scope, q LiveQuery) (rows []Live, next string, err error) {
	return nil, "", errors.ErrUnsupported
}

// Channels returns the tenant's live channels by name.
func (l *Ledger) Channels(ctx context.Context, scope tenant.Scope) ([]Channel, error) {
	return nil, errors.ErrUnsupported
}

// Connection returns one of the tenant's connections, live or ended.
func (l *Ledger) Connection(ctx context.Context, scope tenant.Scope, connectionID string) (History, error) {
	return History{}, errors.ErrUnsupported
}
