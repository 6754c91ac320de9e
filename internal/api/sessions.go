package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// session is one continuous life of a channel.
type session struct {
	SessionID   string     `json:"session_id" example:"2JQ9X0V7T4N6ZB1MKC8E5RWGHD"`
	Channel     string     `json:"channel_id" example:"hello"`
	State       string     `json:"state" enum:"live,ended"`
	StartedAt   time.Time  `json:"started_at"`
	EndedAt     *time.Time `json:"ended_at"`
	Connections int        `json:"connections" doc:"In it now."`
	SendRecv    int        `json:"sendrecv" doc:"Of role sendrecv."`
	SendOnly    int        `json:"sendonly" doc:"Of role sendonly."`
	RecvOnly    int        `json:"recvonly" doc:"Of role recvonly."`
}

func showSession(s billing.Session) session {
	state := "live"
	if !s.EndedAt.IsZero() {
		state = "ended"
	}
	return session{s.SessionID, s.Channel, state, s.StartedAt.UTC(), timeOrNull(s.EndedAt),
		s.Counts.Connections, s.Counts.SendRecv, s.Counts.SendOnly, s.Counts.RecvOnly}
}

func (a *API) listSessions(ctx context.Context, scope tenant.Scope, in *struct {
	Paging
	Channel string `query:"channel_id" maxLength:"510" doc:"Those of this channel, those that have ended included."`
}) (p page[session], err error) {
	after, err := in.after("sessions")
	if err == nil {
		err = checkText("channel_id", in.Channel)
	}
	if err != nil {
		return p, err
	}
	rows, next, err := a.Ledger.Sessions(ctx, scope, billing.SessionQuery{Channel: scope.ChannelName(in.Channel), After: after, Limit: in.Limit})
	if err != nil {
		return p, err
	}
	p = pageOf(rows, in.Limit, showSession, nil)
	if next != "" {
		p.Next = new(newCursor("sessions", next))
	}
	return p, nil
}

// sessionInput names a session.
type sessionInput struct {
	ID string `path:"session_id" maxLength:"64" example:"2JQ9X0V7T4N6ZB1MKC8E5RWGHD"`
}

func (a *API) getSession(ctx context.Context, scope tenant.Scope, in *sessionInput) (session, error) {
	s, err := a.Ledger.Session(ctx, scope, "", in.ID)
	return showSession(s), err
}

// terminated says how many connections a session was ended with.
type terminated struct {
	SessionID   string `json:"session_id"`
	Channel     string `json:"channel_id"`
	Connections int    `json:"connections" doc:"How many have been told to end, or will be."`
	Confirmed   bool   `json:"confirmed" doc:"Their nodes have told them. false: the command is durable, and they will."`
}

func (a *API) terminateSession(ctx context.Context, scope tenant.Scope, in *struct {
	ID string `path:"session_id" maxLength:"64" example:"2JQ9X0V7T4N6ZB1MKC8E5RWGHD"`
	EndInput
}) (t terminated, err error) {
	s, err := a.Ledger.Session(ctx, scope, "", in.ID)
	if err == nil && !s.EndedAt.IsZero() {
		err = tenant.ErrNotFound
	}
	if err != nil {
		return t, err
	}
	ended, err := a.End(ctx, scope, in.end(tenant.Choice{Channel: s.Channel, SessionID: s.SessionID}))
	return terminated{s.SessionID, s.Channel, ended.Connections, ended.Confirmed}, err
}
