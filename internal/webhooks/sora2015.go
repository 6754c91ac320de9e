package webhooks

import (
	"encoding/json"
	"fmt"

	"github.com/hibari/hibari/internal/tenant"
)

// record is one frame of the Stream API as Sora wrote it in 2015.
type record struct {
	Channel   string `json:"channelId"`
	ClientID  string `json:"clientId"` // our connection_id
	Type      string `json:"type"`
	At        string `json:"datetime"` // RFC 3339, UTC, milliseconds
	Role      string `json:"role"`
	Connected int    `json:"connected"` // connections in the channel
	Minutes   int64  `json:"minutes"`
}

// record2015 translates an event, or returns nil for one that 2015 did not know.
func record2015(e tenant.Event) ([]byte, error) {
	r := record{
		Channel:  e.Channel,
		ClientID: e.ConnectionID,
		At:       e.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z07:00"),
	}
	switch e.Type {
	case tenant.ConnectionConnecting:
		r.Type = "connecting"
	case tenant.ConnectionCreated:
		r.Type = "connected"
	case tenant.ConnectionUpdated:
		r.Type = "elapsedTime"
	case tenant.ConnectionDestroyed:
		r.Type = "disconnected"
	case tenant.ConnectionRejected:
		if e.ConnectionSeq < 2 {
			return nil, nil // refused at the door: 2015 never said it was connecting
		}
		r.Type = "disconnected"
	default:
		return nil, nil
	}
	var data struct {
		Role      tenant.Role `json:"role"`
		Connected int         `json:"channel_connections"`
		Minutes   int64       `json:"minutes"`
	}
	// What is not as it should be stays zero: a stream that ends at one event would
	// end at it again and again.
	_ = json.Unmarshal(e.Data, &data)
	r.Role, r.Connected, r.Minutes = role2015(data.Role), data.Connected, data.Minutes
	frame, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("couldn't write event %s as of 2015: %w", e.ID, err)
	}
	return frame, nil
}

// role2015 names a role in the words of 2015, which had none for both ways.
func role2015(r tenant.Role) string {
	switch r {
	case tenant.SendOnly:
		return "upstream"
	case tenant.RecvOnly:
		return "downstream"
	}
	return string(r)
}
