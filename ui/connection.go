package ui

import (
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// connection shows one connection, live or ended.
func (c *Console) connection(w http.ResponseWriter, r *http.Request, v *visit) error {
	h, err := c.Ledger.Connection(r.Context(), v.login.Scope, param(r, "connection"))
	if err != nil {
		return err
	}
	plots, err := c.readPlots(r, v, h)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, connectionPage(v, h, plots))
}

func (c *Console) connectionFragment(r *http.Request, v *visit) (templ.Component, error) {
	h, err := c.Ledger.Connection(r.Context(), v.login.Scope, param(r, "connection"))
	if err != nil {
		return nil, err
	}
	plots, err := c.readPlots(r, v, h)
	return connectionBody(v, h, plots), err
}

// endWords say why a connection ended. Another reason is the client's own word.
var endWords = map[string]string{
	"client":        "the client left",
	"api":           "ended by your server",
	"console":       "ended in the console",
	"timeout":       "the client's network went silent",
	"setup_timeout": "its media never connected",
	"lifetime":      "its token's time was up",
	"shutdown":      "the platform was stopped",
	"node_lost":     "the platform's node was lost",
	"no_place":      "the platform's node was cut off, and the place was another's when it came back",
	"failed":        "something broke on our side",
	"protocol":      "the client broke the signalling protocol",
	"peer_left":     "the other side of the call left",
	"banned":        "a ban came to name it",
	"replaced":      "another came with its client_id",
	"spend_cap":     "the spending cap is reached, and ends connections",
}

// protocolWord names the way a client came in.
func protocolWord(protocol string) string {
	switch protocol {
	case "sora":
		return "Sora"
	case "sora2015":
		return "Sora of 2015"
	case "whip", "whep":
		return strings.ToUpper(protocol)
	case tenant.ProtocolAyame:
		return "Ayame (peer to peer)"
	}
	return protocol
}

func endWord(reason string) string {
	if word, ok := endWords[reason]; ok {
		return word
	}
	return reason
}

// meteredSeconds are the full seconds of media that a connection's minutes are of: until
// it ended or, live, until what it is proven through.
func meteredSeconds(h billing.History) int64 {
	return int64(h.MeteredThrough.Sub(h.ConnectedAt) / time.Second)
}
