package main

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// Actions about sessions, each one continuous life of a channel, and the licence.

// listedSession is a session in Sora's words.
type listedSession struct {
	ChannelID        string `json:"channel_id"`
	SessionID        string `json:"session_id"`
	Multistream      bool   `json:"multistream"`  // always true
	CreatedTime      int64  `json:"created_time"` // unix seconds
	CreatedTimestamp string `json:"created_timestamp"`
	tenant.Counts
	Connections []any `json:"connections,omitempty"` // as ListConnections lists them
}

func showListedSession(s billing.Session) listedSession {
	return listedSession{ChannelID: s.Channel, SessionID: s.SessionID, Multistream: true,
		CreatedTime: s.StartedAt.Unix(), CreatedTimestamp: s.StartedAt.UTC().Format(time.RFC3339Nano), Counts: s.Counts}
}

// listSessions lists the live sessions, newest first.
func (p *platform) listSessions(ctx context.Context, scope tenant.Scope, _ actionRequest) (any, error) {
	list := []listedSession{}
	for after := ""; ; {
		page, next, err := p.ledger.Sessions(ctx, scope, billing.SessionQuery{After: after, Limit: listPage})
		if err != nil {
			return nil, err
		}
		for _, s := range page {
			list = append(list, showListedSession(s))
		}
		if after = next; next == "" {
			return list, nil
		}
	}
}

// getSession shows a channel's live session, with who is in it.
func (p *platform) getSession(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	s, err := p.liveSession(ctx, scope, a)
	if err != nil {
		return nil, err
	}
	shown := showListedSession(s)
	err = p.eachLive(ctx, scope, s.Channel, func(c billing.Live) { shown.Connections = append(shown.Connections, showListed(c)) })
	return shown, err
}

// liveSession is the one that is meant.
func (p *platform) liveSession(ctx context.Context, scope tenant.Scope, a actionRequest) (billing.Session, error) {
	if err := a.needsChannel(); err != nil {
		return billing.Session{}, err
	}
	s, err := p.ledger.Session(ctx, scope, a.channel(), a.SessionID)
	if err == nil && !s.EndedAt.IsZero() {
		err = tenant.ErrNotFound
	}
	return s, err
}

// terminateSession ends everybody in it, and with the last of them the session.
func (p *platform) terminateSession(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	s, err := p.liveSession(ctx, scope, a)
	if err != nil {
		return nil, err
	}
	ended, err := p.api.End(ctx, scope, api.End{Which: tenant.Choice{Channel: s.Channel, SessionID: s.SessionID}, Reason: a.Reason})
	if err != nil {
		return nil, err
	}
	return map[string]any{"channel_id": s.Channel, "session_id": s.SessionID, "connections": ended.Connections, "confirmed": ended.Confirmed}, nil
}

// license is a licence in Sora's words.
type license struct {
	ExpiredAt      *string `json:"expired_at"` // null: until something is changed
	MaxConnections int     `json:"max_connections"`
	MaxNodes       *int    `json:"max_nodes"` // null: nodes are the operator's, and not counted
	ProductName    string  `json:"product_name"`
	SerialCode     string  `json:"serial_code"`
	Type           string  `json:"type"` // trial, standard, custom, none
}

// getLicense shows the licence that is in force.
func (p *platform) getLicense(ctx context.Context, scope tenant.Scope, _ actionRequest) (any, error) {
	s, err := p.ledger.LicenceState(ctx, scope)
	if err != nil {
		return nil, err
	}
	shown := license{MaxConnections: s.MaxConnections, ProductName: "Hibari", SerialCode: s.Current.ID, Type: string(s.Current.Kind)}
	if s.Current.To != nil {
		shown.ExpiredAt = new(s.Current.To.UTC().Format(time.RFC3339))
	}
	return shown, nil
}
