package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// lookPatience is how long the database may take to say where a connection is before it
// is looked for in this process alone.
const lookPatience = 3 * time.Second

// End says which of a tenant's connections are to be ended. Static.
type End struct {
	// ConnectionID is the one that is meant; "": all that Which says, which must say
	// something. An id that the connection had before its node was taken for dead will
	// do.
	ConnectionID string
	Which        tenant.Choice
	// Reason is a JSON object or a text that its connection.destroyed carries as
	// disconnect_api_reason; nil: none.
	Reason json.RawMessage
	// Bar has the access tokens they came with barred first.
	Bar bool
}

// Ended says what became of it.
type Ended struct {
	Connections int  // how many have been told to end, or will be
	Confirmed   bool // their nodes have told them; false: they certainly will
	Channel     string
	ClientID    string // of a single connection
}

// End ends connections, wherever they are. It answers when their nodes say that they
// have been told, or after a moment when the command to them is durable. The error is
// tenant.ErrNotFound if there are none. While the database is away those of this node
// are ended all the same.
func (a *API) End(ctx context.Context, scope tenant.Scope, e End) (Ended, error) {
	said, err := tenant.NewAPIReason(e.Reason)
	if err != nil {
		return Ended{}, err
	}
	why := tenant.Parting{Reason: tenant.EndAPI, Said: said}
	if e.ConnectionID != "" {
		return a.endOne(ctx, scope, e, why)
	}
	if e.Which == (tenant.Choice{}) {
		return Ended{}, tenant.Refuse(tenant.BadMessage, "say which connections are to be ended")
	}
	return a.endAll(ctx, scope, e, why)
}

func (a *API) endOne(ctx context.Context, scope tenant.Scope, e End, why tenant.Parting) (Ended, error) {
	looking, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	h, err := a.Ledger.Current(looking, scope, e.ConnectionID)
	if tenant.DatabaseAway(err) && !e.Bar {
		if a.Node.DisconnectHere(scope, e.ConnectionID, e.Which, why) == 0 {
			return Ended{}, err
		}
		a.Log.Warn("a connection was ended while the database is away; the audit log does not have it",
			"actor", scope.Actor(), "connection", e.ConnectionID)
		return Ended{Connections: 1, Confirmed: true, Channel: e.Which.Channel}, nil
	}
	if err != nil {
		return Ended{}, err
	}
	if !h.EndedAt.IsZero() || e.Which.Channel != "" && e.Which.Channel != h.Channel {
		return Ended{}, tenant.ErrNotFound
	}
	barred := e.Bar && h.TokenHash != [32]byte{}
	if barred { // first: a client that comes back at once must find the door shut
		if err := a.Tenants.BanToken(ctx, scope, h.TokenHash, h.TokenExpiresAt, "disconnected over the API"); err != nil {
			return Ended{}, err
		}
	}
	sent, err := a.Node.Disconnect(ctx, scope, h.ConnectionID, why)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) { // it left just now
		return Ended{}, err
	}
	a.noteEnd(ctx, scope, "connection.disconnected", h.ConnectionID,
		map[string]any{"channel_id": h.Channel, "client_id": h.ClientID, "token_barred": barred})
	ended := Ended{Connections: 1, Channel: h.Channel, ClientID: h.ClientID}
	_, ended.Confirmed, _ = sent.Wait(ctx)
	return ended, nil
}

func (a *API) endAll(ctx context.Context, scope tenant.Scope, e End, why tenant.Parting) (ended Ended, err error) {
	barred := 0
	if e.Bar {
		if barred, err = a.barAll(ctx, scope, e.Which); err != nil {
			return ended, err
		}
	}
	ended.Channel = e.Which.Channel
	var sent *cluster.Sent
	if ended.Connections, sent, err = a.Node.DisconnectAll(ctx, scope, e.Which, why); err == nil && ended.Connections == 0 {
		err = tenant.ErrNotFound
	}
	if err != nil {
		return ended, err
	}
	detail := map[string]any{"connections": ended.Connections, "tokens_barred": barred}
	for name, value := range map[string]string{"channel_id": e.Which.Channel, "session_id": e.Which.SessionID, "role": string(e.Which.Role)} {
		if value != "" {
			detail[name] = value
		}
	}
	switch {
	case e.Which.ClientID != "":
		a.noteEnd(ctx, scope, "client.disconnected", e.Which.ClientID, detail)
	case e.Which.SessionID != "":
		a.noteEnd(ctx, scope, "session.terminated", e.Which.SessionID, detail)
	default:
		a.noteEnd(ctx, scope, "channel.disconnected", e.Which.Channel, detail)
	}
	_, ended.Confirmed, _ = sent.Wait(ctx)
	return ended, nil
}

// barAll bars the tokens of all connections that are meant and returns how many.
func (a *API) barAll(ctx context.Context, scope tenant.Scope, which tenant.Choice) (int, error) {
	barred := map[[32]byte]bool{{}: true} // who came without one
	for q := (billing.LiveQuery{Channel: which.Channel, SessionID: which.SessionID, ClientID: which.ClientID, Role: which.Role, Limit: maxPage}); ; {
		rows, next, err := a.Ledger.Live(ctx, scope, q)
		if err != nil {
			return 0, err
		}
		for _, row := range rows {
			if barred[row.TokenHash] {
				continue
			}
			if err := a.Tenants.BanToken(ctx, scope, row.TokenHash, row.TokenExpiresAt, "channel disconnected over the API"); err != nil {
				return 0, err
			}
			barred[row.TokenHash] = true
		}
		if q.After = next; next == "" {
			return len(barred) - 1, nil
		}
	}
}

// noteEnd writes to the audit log who ended connections. It is done already, so a
// failure is for our log, and the caller is not told otherwise.
func (a *API) noteEnd(ctx context.Context, scope tenant.Scope, action, target string, detail any) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := a.audit(ctx, scope, action, target, detail); err != nil {
		a.Log.Error("couldn't write the audit log", "action", action, "target", target, "err", err)
	}
}
