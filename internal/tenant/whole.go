package tenant

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// wholeKey is where a context holds the transaction of Whole.
type wholeKey struct{}

// whole is a transaction that all of a request belongs to. Static.
type whole struct {
	Isolated
	tx pgx.Tx
}

// Whole runs f with a context under which everything that is done through In, of
// the same scope and pool, is one transaction: it is committed when f returns,
// and rolled back if f fails. So a request and the note that it was answered can
// be kept together or not at all. What f tells other goroutines, or keeps in
// memory, is told before the commit.
//
// One goroutine at a time may use the context. Do not nest it.
func (d Isolated) Whole(ctx context.Context, f func(context.Context) error) error {
	return d.Tx(ctx, func(tx pgx.Tx) error {
		return f(context.WithValue(ctx, wholeKey{}, &whole{d, tx}))
	})
}

// InWhole reports whether what is done through In becomes visible to others only
// with the end of a Whole that the context belongs to.
func (d Isolated) InWhole(ctx context.Context) bool { return d.whole(ctx) != nil }

// whole returns the transaction that this use of the database is a part of; nil:
// none.
func (d Isolated) whole(ctx context.Context) pgx.Tx {
	if w, ok := ctx.Value(wholeKey{}).(*whole); ok && w.Isolated == d {
		return w.tx
	}
	return nil
}
