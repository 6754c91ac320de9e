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
