package billing

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// segment is a connection row as the transaction that locked it sees it: the
// segment of time that is billed.
type segment struct {
	tenant         tenant.ID
	id             string
	channel        string
	session        string
	role           tenant.Role
	clientID       string
	metadata       json.RawMessage
	openedAt       time.Time
	connectedAt    *time.Time // nil: media never connected
	meteredThrough *time.Time
	bytesIn        int64
	bytesOut       int64
	minutesTold    int64
	previous       string // the connection that it continues; "": none
}

// segmentColumns are the columns that scanSegment reads, of connection as c.
const segmentColumns = `c.tenant_id, c.connection_id, c.channel_id, c.session_id, c.role, c.client_id, c.metadata,
	c.opened_at, c.connected_at, c.metered_through, c.bytes_in, c.bytes_out, c.minutes_told, coalesce(c.previous_connection_id, '')`

func scanSegment(row pgx.CollectableRow) (*segment, error) {
	var c segment
	err := row.Scan(&c.tenant, &c.id, &c.channel, &c.session, &c.role, &c.clientID, &c.metadata,
		&c.openedAt, &c.connectedAt, &c.meteredThrough, &c.bytesIn, &c.bytesOut, &c.minutesTold, &c.previous)
	return &c, err
}

// connect records that the media connected at a time, though not before the
// connection was opened, and was proven to last from then.
func (c *segment) connect(at time.Time, proven time.Duration) {
	if at.Before(c.openedAt) {
		at = c.openedAt
	}
	through := at.Add(max(proven, 0).Truncate(time.Microsecond)) // what Postgres can keep
	c.connectedAt, c.meteredThrough = &at, &through
}

// end returns when the segment ended: the node's duration after the media
// connected, but never before what has been metered already. A segment whose
// media never connected ends at the time given, or when it was opened.
func (c *segment) end(at time.Time, e tenant.Ending) time.Time {
	if c.connectedAt == nil {
		if at.Before(c.openedAt) {
			return c.openedAt
		}
		return at
	}
	end := c.connectedAt.Add(max(e.Duration, 0).Truncate(time.Microsecond))
	if c.meteredThrough != nil && end.Before(*c.meteredThrough) {
		end = *c.meteredThrough
	}
	return end
}

// unproven is how much more than what was metered the ledger itself takes for media:
// a node meters its connections every ten seconds.
const unproven = 15 * time.Second

// provable returns how long the media of a live connection has lasted, for who ends it
// in the ledger without asking its node: until now, if that was metered lately; of one
// whose node has gone silent, what was metered and a little. 0: it never connected.
func (c *segment) provable(now time.Time) time.Duration {
	if c.connectedAt == nil {
		return 0
	}
	return min(now.Sub(*c.connectedAt), c.meteredThrough.Sub(*c.connectedAt)+unproven)
}

// data returns what every event about the connection carries, with the
// channel's counts at that moment.
func (c *segment) data(counts tenant.Counts) ConnectionData {
	return ConnectionData{Role: c.role, ClientID: c.clientID, SessionID: c.session, Counts: counts, Metadata: c.metadata, Previous: c.previous}
}

// count adds n connections of role to counts.
func count(counts *tenant.Counts, role tenant.Role, n int) error {
	switch role {
	case tenant.SendRecv:
		counts.SendRecv += n
	case tenant.SendOnly:
		counts.SendOnly += n
	case tenant.RecvOnly:
		counts.RecvOnly += n
	default:
		return fmt.Errorf("a connection with the unknown role %q", role)
	}
	counts.Connections += n
	return nil
}
