package ui

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/billing"
)

func (c *Console) channels(w http.ResponseWriter, r *http.Request, v *visit) error {
	rows, licence, err := c.readChannels(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, channelsPage(v, rows, licence))
}

func (c *Console) channelsFragment(r *http.Request, v *visit) (templ.Component, error) {
	rows, licence, err := c.readChannels(r, v)
	return channelsList(v, rows, licence), err
}

func (c *Console) readChannels(r *http.Request, v *visit) ([]billing.Channel, billing.Licence, error) {
	rows, err := c.Ledger.Channels(r.Context(), v.login.Scope)
	if err != nil {
		return nil, billing.Licence{}, err
	}
	licence, err := c.Ledger.Licence(r.Context(), v.login.Scope)
	return rows, licence, err
}

// liveChannel returns the live channel of this name; nil: it is not live.
func (c *Console) liveChannel(r *http.Request, v *visit, name string) (*billing.Channel, error) {
	rows, err := c.Ledger.Channels(r.Context(), v.login.Scope)
	for i := range rows {
		if rows[i].Channel == name {
			return &rows[i], err
		}
	}
	return nil, err
}

// channelData is one channel's page. Any name is a channel: one that is not
// live only has nobody in it.
type channelData struct {
	live        *billing.Channel
	connections connectionsData
}

func (c *Console) channel(w http.ResponseWriter, r *http.Request, v *visit) error {
	data, err := c.readChannel(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, channelPageOf(v, data))
}

func (c *Console) channelFragment(r *http.Request, v *visit) (templ.Component, error) {
	data, err := c.readChannel(r, v)
	return channelBody(v, data), err
}

func (c *Console) readChannel(r *http.Request, v *visit) (d channelData, err error) {
	name := param(r, "channel")
	if d.connections, err = c.readConnections(r, v, name); err != nil {
		return d, err
	}
	d.live, err = c.liveChannel(r, v, name)
	return d, err
}

// orHello is the channel to try when none is at hand.
func orHello(channel string) string {
	if channel == "" {
		return "hello"
	}
	return channel
}

// liveChannelPath is where a channel's page gets its fragments from.
func liveChannelPath(d connectionsData) string {
	return "/console/live/channels/" + url.PathEscape(d.channel) + "?limit=" + strconv.Itoa(d.limit)
}
