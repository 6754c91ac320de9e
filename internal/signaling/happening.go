package signaling

import "github.com/hibari/hibari/internal/sfu"

// event is what every notification begins with.
type event struct {
	Type      string `json:"type"`
	EventType string `json:"event_type"`
	Timestamp string `json:"timestamp"` // RFC 3339, UTC, in microseconds
}

func eventOf(n *sfu.Notify) event {
	return event{typeNotify, n.EventType, n.Timestamp.UTC().Format("2006-01-02T15:04:05.000000Z")}
}

// forwardingEvent is forwarding.blocked.
type forwardingEvent struct {
	event
	Kind        string `json:"kind"`
	Destination string `json:"destination_connection_id"`
	Source      string `json:"source_connection_id"`
}

// happening puts a notification that is not of a connection's coming and going
// into Sora's words; nil: it has none for it.
func happening(n *sfu.Notify) any {
	switch d := n.Details.(type) {
	case *sfu.Forwarding:
		return forwardingEvent{eventOf(n), d.Kind, d.Destination, d.Source}
	case *sfu.SimulcastSwitched:
		return switched(n, d)
	case *sfu.SpotlightChange:
		return spotlighted(n, d)
	}
	return nil
}
