// Package api is REST for a tenant's server: everything under /v1.
//
// An operation is one row of one table (table.go): method, path, the roles
// whose API keys may call it, and the function that answers. A request goes
//
//	recover ─► route ─► API key ─► rate ─► role ─► body ─► idempotency key ─► operation
//
// where everything before the operation is enter.go's. huma reads parameters
// and bodies by the operation's types, refuses what does not fit them, and
// writes the OpenAPI document from the same types. Whatever goes wrong is told
// as one kind of problem document (problem.go), also outside /v1.
package api
