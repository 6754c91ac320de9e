package api

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// auditEntry is one line of the audit log.
type auditEntry struct {
	ID        int64           `json:"id"`
	At        time.Time       `json:"at"`
	Actor     string          `json:"actor" example:"api_key:9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	ActorName string          `json:"actor_name" doc:"Who that is for people, as it was then."`
	Action    string          `json:"action" example:"signing_key.revoked"`
	Target    string          `json:"target" doc:"The id of what was changed."`
	Diff      json.RawMessage `json:"diff" doc:"What changed, by field: the value before and the value after. Secrets are left out."`
	Detail    json.RawMessage `json:"detail" doc:"What else is worth knowing."`
	Address   *string         `json:"address" doc:"Where the request came from."`
	RequestID *string         `json:"request_id"`
}

func showAudit(e tenant.AuditEntry) auditEntry {
	return auditEntry{e.ID, e.At.UTC(), e.Actor, e.ActorName, e.Action, e.Target, e.Diff, e.Detail, textOrNull(e.Address), textOrNull(e.RequestID)}
}

func (a *API) listAudit(ctx context.Context, scope tenant.Scope, in *struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"How many items a page has at most."`
	Cursor string `query:"cursor" maxLength:"2048" doc:"The next of the page before. Absent: from the start."`
	Actor  string `query:"actor" maxLength:"200" doc:"Only what this actor did, or whose name has this text in it."`
	Action string `query:"action" maxLength:"200" example:"signing_key." doc:"Only actions that begin so."`
	Target string `query:"target" maxLength:"200" doc:"Only what was done to this id."`
	Text   string `query:"text" maxLength:"200" doc:"Only entries with this text anywhere."`
	From   string `query:"from" maxLength:"40" example:"2026-11-01" doc:"Not before this day (UTC) or time (RFC 3339)."`
	To     string `query:"to" maxLength:"40" example:"2026-12-01" doc:"Before this day (UTC) or time (RFC 3339)."`
}) (p page[auditEntry], err error) {
	q := tenant.AuditQuery{Actor: in.Actor, Action: in.Action, Target: in.Target, Text: in.Text}
	position, err := Paging{Cursor: in.Cursor}.after("audit-log")
	if err == nil && position != "" {
		if q.Before, err = strconv.ParseInt(position, 10, 64); err != nil || q.Before < 1 {
			err = errCursor
		}
	}
	if err == nil && in.From != "" {
		q.From, err = readTime("from", in.From, time.UTC)
	}
	if err == nil && in.To != "" {
		q.To, err = readTime("to", in.To, time.UTC)
	}
	if err != nil {
		return p, err
	}
	rows, next, err := a.Tenants.SearchAudit(ctx, scope, q, in.Limit)
	if err != nil {
		return p, err
	}
	p = pageOf(rows, len(rows), showAudit, nil)
	if next != 0 {
		p.Next = new(newCursor("audit-log", strconv.FormatInt(next, 10)))
	}
	return p, nil
}

// audit writes who did what. Most packages write their own entries, in the
// transaction of the change.
func (a *API) audit(ctx context.Context, scope tenant.Scope, action, target string, detail any) error {
	return tenant.Audit(ctx, scope.In(a.DB), scope, action, target, detail)
}
