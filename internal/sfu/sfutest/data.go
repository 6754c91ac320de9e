package sfutest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/pion/webrtc/v4"
)

// Message is what came on a data channel.
type Message struct {
	Label  string
	Data   []byte
	Binary bool
}

// dataChannels is what happens on the data channels that the server opens.
type dataChannels struct {
	mu sync.Mutex
	// Guarded by mu
	open     map[string]*webrtc.DataChannel
	labels   []string // in the order of their opening
	closed   []string // likewise
	errors   []error
	messages []Message
}

// take notes a new channel.
func (d *dataChannels) take(c *webrtc.DataChannel) {
	c.OnOpen(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.open == nil {
			d.open = map[string]*webrtc.DataChannel{}
		}
		d.open[c.Label()] = c
		d.labels = append(d.labels, c.Label())
	})
	c.OnClose(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.closed = append(d.closed, c.Label())
	})
	c.OnError(func(err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.errors = append(d.errors, err)
	})
	c.OnMessage(func(m webrtc.DataChannelMessage) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.messages = append(d.messages, Message{c.Label(), m.Data, !m.IsString})
	})
}

// Channel is the open data channel of that label; nil: there is none.
func (c *Client) Channel(label string) *webrtc.DataChannel {
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	return c.data.open[label]
}

// SendMessage sends a binary message on a data channel.
func (c *Client) SendMessage(label string, data []byte) error {
	channel := c.Channel(label)
	if channel == nil {
		return fmt.Errorf("data channel %q is not open", label)
	}
	return channel.Send(data)
}

// Messages are the messages so far, of one label or, with "", of all.
func (c *Client) Messages(label string) []Message {
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	if label == "" {
		return slices.Clone(c.data.messages)
	}
	var found []Message
	for _, m := range c.data.messages {
		if m.Label == label {
			found = append(found, m)
		}
	}
	return found
}

// OpenChannels are the labels of the data channels that were opened.
func (c *Client) OpenChannels() []string {
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	return slices.Clone(c.data.labels)
}

// ClosedChannels are the labels of the data channels that were closed, in order.
func (c *Client) ClosedChannels() []string {
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	return slices.Clone(c.data.closed)
}

// DataErrors are the errors of data channels.
func (c *Client) DataErrors() []error {
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	return slices.Clone(c.data.errors)
}
