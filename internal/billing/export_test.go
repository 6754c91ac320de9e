package billing

import "context"

// RecountOnce is what Run does each minute.
func (l *Ledger) RecountOnce(ctx context.Context) { l.recount(ctx) }
