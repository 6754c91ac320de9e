package billing

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// What follows is a contract with every tenant: the data of the events about
// connections and channels, as webhooks, the stream and the REST API carry it.
// Fields are added, never renamed or removed. The other packages read it as
// JSON.

// ConnectionData is in the data of every connection event.
type ConnectionData struct {
	Role      tenant.Role `json:"role"`
	ClientID  string      `json:"client_id"`
	SessionID string      `json:"session_id,omitempty"` // absent from connection.rejected of a connect that got no place
	tenant.Counts
	Metadata json.RawMessage `json:"metadata"` // the token's; null: none
	// Previous is the connection that this one continues: its node was taken for
	// dead, and came back.
	Previous string `json:"previous_connection_id,omitempty"`
}

// UpdatedData is the data of connection.updated: one event for each full
// minute of media, with the minute's own time.
type UpdatedData struct {
	ConnectionData
	Minutes int64 `json:"minutes"` // full minutes since the media connected: 1, 2, 3 …
}

// DestroyedData is the data of connection.destroyed. Its counts leave the
// connection out.
type DestroyedData struct {
	ConnectionData
	Reason          string `json:"reason"`
	DurationSeconds int64  `json:"duration_seconds"` // full seconds of media
	Minutes         int64  `json:"minutes"`          // billed: each started minute, at least 1
	BytesIn         int64  `json:"bytes_in"`
	BytesOut        int64  `json:"bytes_out"`
	// APIReason is what the caller of the API that ended it gave as the reason.
	APIReason json.RawMessage `json:"disconnect_api_reason,omitempty"`
}

// RejectedData is the data of connection.rejected: the client was refused, or
// had a place and left before its media connected. Nothing is billed.
type RejectedData struct {
	ConnectionData
	Code    tenant.Code `json:"code,omitempty"`    // why it was refused
	Reason  string      `json:"reason"`            // the code, or how the connection ended
	Detail  string      `json:"detail,omitempty"`  // what to do about it
	Current int         `json:"current,omitempty"` // tenant_full, channel_full: how many connections
	Max     int         `json:"max,omitempty"`     // of how many
	// APIReason is as in DestroyedData.
	APIReason json.RawMessage `json:"disconnect_api_reason,omitempty"`
}

// ChannelData is the data of channel.started and channel.ended.
type ChannelData struct {
	SessionID       string `json:"session_id"`
	DurationSeconds int64  `json:"duration_seconds"` // 0 in channel.started
}

// ThresholdData is the data of licence.threshold.
type ThresholdData struct {
	Threshold      int `json:"threshold"`   // in percent: 80 or 100
	Connections    int `json:"connections"` // at one time, when it was reached
	MaxConnections int `json:"max_connections"`
	// Over is how many are too many: they were let in while the database was away.
	Over int `json:"over,omitempty"`
}

// SpendData is the data of usage.threshold. Amounts are in minor units of the currency,
// with tax, and beside them as decimal numbers.
type SpendData struct {
	Threshold   string    `json:"threshold"` // "50", "80", "100": percent of the cap; "forecast": it is going to be reached
	Amount      int64     `json:"amount"`    // spent so far; forecast: for the whole period
	Decimal     string    `json:"decimal"`
	Cap         int64     `json:"cap"`
	CapDecimal  string    `json:"cap_decimal"`
	Currency    string    `json:"currency"`
	Action      CapAction `json:"action"` // what happens at 100 %
	PeriodFrom  time.Time `json:"period_from"`
	PeriodTo    time.Time `json:"period_to"`
	DataThrough time.Time `json:"data_through"` // what was used later is not in Amount
}

// connectionEvent makes an event about a connection. Its id and seq are the
// outbox's to give.
func connectionEvent(c *segment, kind tenant.EventType, at time.Time, data any) (tenant.Event, error) {
	e, err := channelEvent(c.tenant, c.channel, kind, at, data)
	e.ConnectionID = c.id
	return e, err
}

// channelEvent makes an event about a channel.
func channelEvent(id tenant.ID, channel string, kind tenant.EventType, at time.Time, data any) (tenant.Event, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return tenant.Event{}, fmt.Errorf("couldn't write the data of %s: %w", kind, err)
	}
	return tenant.Event{Type: kind, Timestamp: at.UTC(), Tenant: id, Channel: channel, Data: text}, nil
}
