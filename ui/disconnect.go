package ui

import (
	"errors"
	"net/http"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// askDisconnect asks once whether to end a connection.
func (c *Console) askDisconnect(w http.ResponseWriter, r *http.Request, v *visit) error {
	h, err := c.Ledger.Current(r.Context(), v.login.Scope, param(r, "connection"))
	if err != nil {
		return err
	}
	if !h.EndedAt.IsZero() {
		return tenant.ErrNotFound
	}
	q := question{
		Title:   "Disconnect this client?",
		Text:    "Its media stops at once. The minutes until now stay counted.",
		Facts:   [][2]string{{"Channel", h.Channel}, {"Role", roleWord(h.Role)}, {"Connection", h.ConnectionID}},
		Confirm: "Disconnect",
		Action:  "/console/connections/" + h.ConnectionID + "/disconnect",
		Back:    "/console/connections",
		Else:    "Ban the client instead…", ElsePath: newBanPath(tenant.ConnectionBan, h.ConnectionID),
		Quiet: true,
	}
	if h.Protocol == tenant.ProtocolAyame {
		q.Text = "The call is told to end, and clients do so at once. The other side is ended, too. The minutes until now stay counted."
	}
	if hasToken(h.Live) {
		q.Check, q.Name, q.Value = "Also bar this access token until it expires", "ban", "token"
	}
	return v.ask(w, r, q)
}

// disconnect ends a connection, and bars its token first if asked: a client
// that comes back at once must find the door shut.
func (c *Console) disconnect(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	ctx, scope := r.Context(), v.login.Scope
	h, err := c.Ledger.Current(ctx, scope, param(r, "connection"))
	if err != nil {
		return err
	}
	done := "disconnect"
	if r.PostForm.Get("ban") == "token" && hasToken(h.Live) {
		if err := c.Tenants.BanToken(ctx, scope, h.TokenHash, h.TokenExpiresAt, "disconnected in the console"); err != nil {
			return err
		}
		done = "disconnect-ban"
	}
	detail := map[string]any{"channel_id": h.Channel, "client_id": h.ClientID, "token_barred": done == "disconnect-ban"}
	if err := c.auditLog(ctx, v, "connection.disconnected", h.ConnectionID, detail); err != nil {
		return err
	}
	sent, err := c.Node.Disconnect(ctx, scope, h.ConnectionID, tenant.Parting{Reason: tenant.EndConsole})
	if err != nil && !errors.Is(err, tenant.ErrNotFound) { // it may have left just now
		return err
	}
	sent.Wait(ctx) // the page that follows shows it
	return v.finish(w, r, "/console/connections", done)
}

// hasToken reports whether the connection came with an access token to bar.
func hasToken(l billing.Live) bool { return l.TokenHash != [32]byte{} }

// askEndChannel asks once whether to end a whole channel.
func (c *Console) askEndChannel(w http.ResponseWriter, r *http.Request, v *visit) error {
	channel := param(r, "channel")
	live, err := c.liveChannel(r, v, channel)
	if err != nil {
		return err
	}
	if live == nil {
		return tenant.ErrNotFound
	}
	return v.ask(w, r, question{
		Title:   "Disconnect everybody?",
		Text:    "Every connection of the channel ends at once.",
		Facts:   [][2]string{{"Channel", channel}, {"Connections", whole(live.Counts.Connections)}},
		Check:   "Also bar their access tokens until they expire",
		Name:    "ban",
		Value:   "token",
		Confirm: "Disconnect",
		Action:  channelPath(channel) + "/disconnect",
		Back:    channelPath(channel),
		Else:    "Ban the channel instead…", ElsePath: newBanPath(tenant.ChannelBan, channel),
		Quiet: true,
	})
}

// endChannel ends all connections of a channel.
func (c *Console) endChannel(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	ctx, scope, channel := r.Context(), v.login.Scope, param(r, "channel")
	barred := 0
	if r.PostForm.Get("ban") == "token" {
		var err error
		if barred, err = c.barChannel(r, v, channel); err != nil {
			return err
		}
	}
	live, err := c.liveChannel(r, v, channel)
	if err != nil {
		return err
	}
	detail := map[string]any{"connections": 0, "tokens_barred": barred}
	if live != nil {
		detail["connections"] = live.Counts.Connections
	}
	if err := c.auditLog(ctx, v, "channel.disconnected", channel, detail); err != nil {
		return err
	}
	_, sent, err := c.Node.DisconnectAll(ctx, scope, tenant.Choice{Channel: channel}, tenant.Parting{Reason: tenant.EndConsole})
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return err
	}
	sent.Wait(ctx)
	return v.finish(w, r, channelPath(channel), "end-channel")
}

// barChannel bars the tokens of everybody in a channel and returns how many.
func (c *Console) barChannel(r *http.Request, v *visit, channel string) (int, error) {
	barred := map[[32]byte]bool{}
	for q := (billing.LiveQuery{Channel: channel, Limit: 1000}); ; {
		rows, next, err := c.Ledger.Live(r.Context(), v.login.Scope, q)
		if err != nil {
			return 0, err
		}
		for _, row := range rows {
			if !hasToken(row) || barred[row.TokenHash] {
				continue
			}
			if err := c.Tenants.BanToken(r.Context(), v.login.Scope, row.TokenHash, row.TokenExpiresAt, "channel disconnected in the console"); err != nil {
				return 0, err
			}
			barred[row.TokenHash] = true
		}
		if q.After = next; next == "" {
			return len(barred), nil
		}
	}
}
