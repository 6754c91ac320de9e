package tenant

import "context"

// Caller is who made the request that something is done for, as far as the
// network knows: the audit log keeps it beside who acts.
type Caller struct {
	Address   string // the client's, without a port; "": not known
	RequestID string // the same as in the answer's X-Request-Id; "": no request
}

// WithCaller returns a context in which audit entries are the caller's.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of a context; the zero Caller if it has none, as
// at the command line.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

type callerKey struct{}
