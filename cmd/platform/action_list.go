package main

import (
	"cmp"
	"context"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// Actions that list what is live. They read the ledger: what an event has told is in
// the list.

// How many connections are read from the ledger at once when a list has no
// page size of its own.
const listPage = 1000

// listed2015 is one row of ListConnections of 2015, in both eras' words.
type listed2015 struct {
	ChannelID2015 string      `json:"channelId"`
	ClientID2015  string      `json:"clientId"`
	ChannelID     string      `json:"channel_id"`
	ConnectionID  string      `json:"connection_id"`
	ClientID      string      `json:"client_id"`
	SessionID     string      `json:"session_id"`
	Role          tenant.Role `json:"role"`
	CreatedTime   int64       `json:"created_time"` // unix seconds; when its media connected, or else when it knocked
	Connected     bool        `json:"connected"`    // media is up
	Seconds       int64       `json:"seconds"`      // since its media connected
}

// listConnections2015 lists the tenant's live connections, or one channel's.
func (p *platform) listConnections2015(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	list := []listed2015{}
	err := p.eachLive(ctx, scope, a.channel(), func(c billing.Live) {
		list = append(list, listed2015{
			ChannelID2015: c.Channel, ClientID2015: c.ConnectionID,
			ChannelID: c.Channel, ConnectionID: c.ConnectionID, ClientID: c.ClientID, SessionID: c.SessionID,
			Role: c.Role, CreatedTime: createdAt(c).Unix(), Connected: !c.ConnectedAt.IsZero(), Seconds: c.Seconds,
		})
	})
	return list, err
}

// createdAt is when the connection's media connected, or else when it knocked.
func createdAt(c billing.Live) time.Time {
	if !c.ConnectedAt.IsZero() {
		return c.ConnectedAt
	}
	return c.OpenedAt
}

// listedConnection is one row of today's lists.
type listedConnection struct {
	ChannelID    string      `json:"channel_id"`
	SessionID    string      `json:"session_id"`
	ClientID     string      `json:"client_id"`
	BundleID     string      `json:"bundle_id"`
	ConnectionID string      `json:"connection_id"`
	Role         tenant.Role `json:"role"`
	Multistream  bool        `json:"multistream"` // always true
	tenant.Profile
	CreatedTime      int64  `json:"created_time"`      // unix seconds; when its media connected, or else when it knocked
	CreatedTimestamp string `json:"created_timestamp"` // the same in RFC 3339
	Connected        bool   `json:"connected"`         // media is up
	Seconds          int64  `json:"seconds"`           // since its media connected
	Protocol         string `json:"protocol"`          // sora, sora2015, whip, whep, ayame
	TotalReceived    int64  `json:"total_received_bytes"`
	TotalSent        int64  `json:"total_sent_bytes"`
}

// listConnections lists the tenant's live connections, or one channel's.
func (p *platform) listConnections(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	list := []listedConnection{}
	err := p.eachLive(ctx, scope, a.channel(), func(c billing.Live) { list = append(list, showListed(c)) })
	return list, err
}

func showListed(c billing.Live) listedConnection {
	created := createdAt(c)
	row := listedConnection{
		ChannelID: c.Channel, SessionID: c.SessionID, ClientID: c.ClientID, BundleID: c.ConnectionID, ConnectionID: c.ConnectionID,
		Role: c.Role, Multistream: true,
		CreatedTime: created.Unix(), CreatedTimestamp: created.UTC().Format(time.RFC3339Nano),
		Connected: !c.ConnectedAt.IsZero(), Seconds: c.Seconds, Protocol: c.Protocol,
		TotalReceived: c.BytesIn, TotalSent: c.BytesOut,
	}
	if c.Profile != nil {
		row.Profile, row.BundleID = *c.Profile, cmp.Or(c.Profile.BundleID, row.BundleID)
		row.Profile.BundleID = "" // it stands beside
	}
	return row
}

// listChannelConnections lists one channel's.
func (p *platform) listChannelConnections(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if err := a.needsChannel(); err != nil {
		return nil, err
	}
	return p.listConnections(ctx, scope, a)
}

// listedChannel is one row of ListChannels.
type listedChannel struct {
	ChannelID string `json:"channel_id"`
	SessionID string `json:"session_id"`
	tenant.Counts
	CreatedTime      int64  `json:"created_time"` // unix seconds
	CreatedTimestamp string `json:"created_timestamp"`
}

// listChannels lists the tenant's live channels by name.
func (p *platform) listChannels(ctx context.Context, scope tenant.Scope, _ actionRequest) (any, error) {
	channels, err := p.ledger.Channels(ctx, scope)
	if err != nil {
		return nil, err
	}
	list := make([]listedChannel, len(channels))
	for i, c := range channels {
		list[i] = listedChannel{c.Channel, c.SessionID, c.Counts, c.StartedAt.Unix(), c.StartedAt.UTC().Format(time.RFC3339Nano)}
	}
	return list, nil
}

// eachLive calls f with every live connection of the tenant, or of one of its
// channels.
func (p *platform) eachLive(ctx context.Context, scope tenant.Scope, channel string, f func(billing.Live)) error {
	for after := ""; ; {
		page, next, err := p.ledger.Live(ctx, scope, billing.LiveQuery{Channel: channel, After: after, Limit: listPage})
		if err != nil {
			return err
		}
		for _, c := range page {
			f(c)
		}
		if next == "" {
			return nil
		}
		after = next
	}
}
