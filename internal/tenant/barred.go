package tenant

// Subject is what bans may name a connection by.
type Subject struct {
	Tenant       ID
	Channel      string
	ConnectionID string
	ClientID     string // the connection's id if it has none of its own
	TokenHash    [32]byte
}
