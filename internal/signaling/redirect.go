package signaling

import (
	"errors"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/tenant"
)

// A channel lives on one node; who comes to another is sent there.

// asElsewhere returns where an error says that the channel lives; nil: nowhere.
func asElsewhere(err error) *tenant.Elsewhere {
	var elsewhere *tenant.Elsewhere
	errors.As(err, &elsewhere)
	return elsewhere
}

// send is the answer to a visitor whose channel lives elsewhere: that, if it can
// make something of it, or a refusal for people to read.
func (d *Door) send(v visitor, to *tenant.Elsewhere) error {
	if !v.Redirects && to.Draining {
		return d.refuse(tenant.Refuse(tenant.Draining, "this node takes no new channels; connect to %s", to.PublicURL))
	}
	if !v.Redirects {
		return d.refuse(tenant.Refuse(tenant.Unavailable, "another node has this channel; connect to %s", to.PublicURL))
	}
	d.mu.Lock()
	d.sent++
	d.mu.Unlock()
	return to
}

// redirect sends a client of today's dialect to another node.
type redirect struct {
	Type     string `json:"type"`
	Location string `json:"location"`
}

// signalingURL is where a node's Signaling is.
func signalingURL(e *tenant.Elsewhere) string {
	return "ws" + strings.TrimPrefix(e.PublicURL, "http") + "/signaling"
}

// redirect tells the client where its channel lives. Clients close the socket
// then, and it is theirs to do: one that finds it closed may take that for the
// end of its connect.
func (s *session) redirect(to *tenant.Elsewhere) *farewell {
	frame, err := appendMessage(nil, redirect{typeRedirect, signalingURL(to)})
	if err == nil {
		err = s.socket.send(frame)
	}
	if err != nil {
		return new(gone(err))
	}
	patience := time.NewTimer(s.door.limits.Farewell)
	defer patience.Stop()
	for {
		select {
		case _, ok := <-s.socket.frames:
			if !ok {
				return &farewell{}
			}
		case <-patience.C:
			return &farewell{code: websocket.StatusNormalClosure}
		}
	}
}
