package tenant

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// MailPayers posts a mail about money to each of the tenant's Payers, in the
// transaction of what it tells of. kind is a word for the log. The text is for people
// and must hold no secret; who it went to, and of which organisation, stands below it.
// The caller calls WakePostman after the commit. Where no mail can be written it does
// nothing.
func (s *Store) MailPayers(ctx context.Context, tx pgx.Tx, t ID, kind, subject, text string) error {
	if !s.CanMail() {
		return nil
	}
	rows, err := tx.Query(ctx, `select m.email, t.name from member m join tenant t using (tenant_id)
		where m.tenant_id = $1 and m.role = any($2) order by m.email`, t, Payers)
	if err != nil {
		return fmt.Errorf("couldn't read who is written to: %w", err)
	}
	type reader struct{ Email, Organisation string }
	readers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[reader])
	if err != nil {
		return fmt.Errorf("couldn't read who is written to: %w", err)
	}
	for _, r := range readers {
		signed := text + "\nThis mail went to the owners, admins and billing members of the organisation\n" + Printable(r.Organisation, MaxNameBytes) + ".\n"
		if err := s.queue(ctx, tx, mailing{kind, Message{r.Email, subject, signed}}); err != nil {
			return err
		}
	}
	return nil
}
