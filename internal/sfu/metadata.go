package sfu

import (
	"encoding/json"
	"errors"
	"time"
)

// Errors of a change of metadata.
var (
	// ErrMetadataLarge: the metadata would have more than MaxMetadataBytes.
	ErrMetadataLarge = errors.New("metadata is too large")
	// ErrMetadataShape: an item can only be put into an object.
	ErrMetadataShape = errors.New("metadata is not an object")
	// ErrTooOften: the connection, or its channel, changes too often.
	ErrTooOften = errors.New("changes come too often")
)

const (
	// MaxMetadataBytes is how long the changeable metadata of a connection may
	// become: everybody who joins its channel is sent it.
	MaxMetadataBytes = 8 << 10
	// changesAtOnce is how many changes of metadata a connection may make at
	// once, changesPerSecond how many over time. Each may be pushed to all.
	changesAtOnce, changesPerSecond = 20, 5
	// channelChangesAtOnce and channelChangesPerSecond are the same for all
	// connections of a channel together: a door must never fall behind for them.
	channelChangesAtOnce, channelChangesPerSecond = 64, 50
)

// Metadata is what the others in a channel are shown of a connection, in Sora's
// three kinds. Each is JSON or nil, and never changed in place.
type Metadata struct {
	Authn json.RawMessage // what the client declared of itself
	Authz json.RawMessage // what its admission gave it
	Ext   json.RawMessage // what may change while it is connected
}

// Merged is the one value that stands for all in older notifications: what may
// change if there is any, else what the admission gave, else the client's own.
func (m *Metadata) Merged() json.RawMessage {
	switch {
	case m.Ext != nil:
		return m.Ext
	case m.Authz != nil:
		return m.Authz
	}
	return m.Authn
}

// PutMetadata replaces what may change of the connection's metadata, which it
// returns. Whoever joins from now on is shown it. If push is not nil, it is
// pushed to all who are told of the connection, itself included. The error is
// ErrMetadataLarge, ErrTooOften or ErrEnded.
func (c *Connection) PutMetadata(value json.RawMessage, push []byte) (json.RawMessage, error) {
	return c.changeMetadata(push, func(json.RawMessage) (json.RawMessage, error) { return value, nil })
}

// PutMetadataItem sets one item of it, as PutMetadata does with all. The error
// may also be ErrMetadataShape.
func (c *Connection) PutMetadataItem(key string, value json.RawMessage, push []byte) (json.RawMessage, error) {
	return c.changeMetadata(push, func(ext json.RawMessage) (json.RawMessage, error) { return putItem(ext, key, value) })
}

// putItem sets an item of an object; nil is an empty one.
func putItem(object json.RawMessage, key string, value json.RawMessage) (json.RawMessage, error) {
	items := map[string]json.RawMessage{}
	if object != nil {
		if err := json.Unmarshal(object, &items); err != nil || items == nil {
			return nil, ErrMetadataShape
		}
	}
	items[key] = value
	return json.Marshal(items)
}

// changeMetadata has the worker make a change, so that all are told of several
// in the order in which they were made.
func (c *Connection) changeMetadata(push []byte, change func(json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	type outcome struct {
		ext json.RawMessage
		err error
	}
	reply := make(chan outcome, 1)
	ch := c.home()
	if ch == nil || !ch.post(func(w *worker) {
		ext, err := w.changeMetadata(c.member, push, change)
		reply <- outcome{ext, err}
	}) {
		return nil, ErrEnded
	}
	select {
	case o := <-reply:
		return o.ext, o.err
	case <-c.done:
		return nil, ErrEnded
	}
}

// changeMetadata changes a member's metadata and tells the others.
func (w *worker) changeMetadata(m *member, push []byte, change func(json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	if !w.changes.full(w.now, channelChangesAtOnce, channelChangesPerSecond) ||
		!m.changes.full(w.now, changesAtOnce, changesPerSecond) {
		w.sfu.counters.changesRefused.Add(1)
		return nil, ErrTooOften
	}
	metadata := m.conn.other.Load().Metadata
	ext, err := change(metadata.Ext)
	switch {
	case err != nil:
		return nil, err
	case len(ext) > MaxMetadataBytes:
		return nil, ErrMetadataLarge
	}
	w.changes.take()
	m.changes.take()
	metadata.Ext = ext
	m.conn.setMetadata(metadata)
	if push != nil {
		for _, o := range w.members {
			if o.hearsOf(m) || o == m {
				w.signal(o, Signal{Kind: SignalPush, Data: push})
			}
		}
	}
	return ext, nil
}

// setMetadata makes the metadata what others are shown from now on.
func (c *Connection) setMetadata(m Metadata) {
	r := &c.request
	c.other.Store(&Other{ConnectionID: r.ConnectionID, ClientID: r.ClientID, BundleID: r.BundleID, Metadata: m})
}

// allowance is how often something may still happen. The zero value is full.
type allowance struct {
	spent float64
	at    time.Time
}

// full reports whether one is left of an allowance of some at once that fills up
// again at a rate.
func (a *allowance) full(now time.Time, atOnce, perSecond float64) bool {
	a.refill(now, perSecond)
	return a.spent+1 <= atOnce
}

// solvent reports whether less has been used up than there is at once: what is taken
// then may go beyond that, and is waited for afterwards.
func (a *allowance) solvent(now time.Time, atOnce, perSecond float64) bool {
	a.refill(now, perSecond)
	return a.spent < atOnce
}

func (a *allowance) refill(now time.Time, perSecond float64) {
	if a.spent > 0 {
		a.spent = max(0, a.spent-now.Sub(a.at).Seconds()*perSecond)
	}
	a.at = now
}

// take uses one up.
func (a *allowance) take() { a.spent++ }
