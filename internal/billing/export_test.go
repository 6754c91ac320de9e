package billing

import (
	"context"
	"time"
)

// RecountOnce is what Run does each minute.
func (l *Ledger) RecountOnce(ctx context.Context) { l.recount(ctx) }

// Reread has the book read all licences now.
func (b *Book) Reread() {
	b.mu.Lock()
	b.standing = time.Time{}
	b.mu.Unlock()
	b.ask()
}

// OwedMost is how many connections a book admits that the database does not have.
const OwedMost = owedMost

// LineOf begins the line of a connection's bytes.
func LineOf(connectedAt time.Time) byteLine { return byteLine{{at: connectedAt}} }

// LinePoint continues it.
func LinePoint(l byteLine, at time.Time, in, out int64) byteLine {
	return append(l, bytePoint{at, in, out})
}

// LineShare is byteLine.share.
func LineShare(l byteLine, from, to time.Time) (in, out int64) { return l.share(from, to) }

// Reached is what of a cap has been reached in a month, and until when newcomers are
// refused then.
func Reached(m *Month, c *SpendCap) (thresholds []string, until *time.Time) {
	for _, alert := range m.reached(c) {
		thresholds = append(thresholds, alert.Threshold)
	}
	return thresholds, m.until(c)
}
