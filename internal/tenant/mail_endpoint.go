package tenant

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
)

// DisabledEndpoint is a webhook endpoint that the platform has disabled.
type DisabledEndpoint struct {
	ID, URL      string
	Gone         bool // it answered 410; else it has failed for too long
	LastError    string
	FailingSince time.Time
}

// EndpointDisabled posts a mail about a webhook endpoint to each of the tenant's
// Builders, in the transaction that disables it. The caller calls WakePostman after
// the commit. Where no mail can be written it does nothing.
func (s *Store) EndpointDisabled(ctx context.Context, tx pgx.Tx, t ID, e DisabledEndpoint) error {
	if !s.CanMail() {
		return nil
	}
	rows, err := tx.Query(ctx, `select m.email, t.name from member m join tenant t using (tenant_id)
		where m.tenant_id = $1 and m.role = any($2) order by m.email`, t, Builders)
	if err != nil {
		return fmt.Errorf("couldn't read who is written to: %w", err)
	}
	type reader struct{ Email, Organisation string }
	readers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[reader])
	if err != nil {
		return fmt.Errorf("couldn't read who is written to: %w", err)
	}
	for _, r := range readers {
		if err := s.queue(ctx, tx, endpointDisabledMail(r.Email, r.Organisation, s.post.PublicURL, e)); err != nil {
			return err
		}
	}
	return nil
}

// WakePostman has the mails that wait sent soon. It never blocks.
func (s *Store) WakePostman() { s.wakePostman() }

func endpointDisabledMail(to, organisation, publicURL string, e DisabledEndpoint) mailing {
	why := fmt.Sprintf("It has answered nothing with success since %s.", e.FailingSince.UTC().Format("2 January 2006, 15:04 UTC"))
	if e.Gone {
		why = "It answered 410 Gone, which asks never to be called again."
	}
	return mailing{"endpoint_disabled", Message{to, "A webhook endpoint of " + Printable(organisation, MaxNameBytes) + " is disabled", fmt.Sprintf(`Hello,

Hibari no longer sends events to this webhook endpoint of the organisation %s:

%s

%s
The last try ended so: %s

What to do: mend the receiver, then enable the endpoint on its page. What had
waited for it is sent then; what has happened meanwhile can be sent from the
same page, for as long as events are kept.

%s/console/webhooks/%s

This mail comes at most once a day for an endpoint. It went to the owners, admins
and developers of the organisation.
`, Printable(organisation, MaxNameBytes), withoutQuery(e.URL), why, Printable(e.LastError, maxReasonBytes), publicURL, e.ID)}}
}

// withoutQuery leaves out what of a URL often is a secret.
func withoutQuery(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
