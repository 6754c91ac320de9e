package sfu

import (
	"errors"
	"maps"
	"slices"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// Messages between the clients of a channel, on labels that begin with "#":
//
//	a client's message → its data goroutine: decompressed, if it came so
//	  → the audience of its label, copied on write by the channel's worker
//	  → for each that receives on the label: with the header it asked for,
//	    compressed if it asked for that (once for all who did)
//	  → transport.Peer.Send
//
// So the messages of one sender reach each receiver in their order where both
// channels are ordered, and no lock is shared but that of a receiver's
// association. A receiver that has too much waiting loses messages, whole ones and
// on reliable channels too: to end its connection instead would let a fast sender
// throw out the others.

// listener is a connection that receives messages on a label. Static.
type listener struct {
	to      *data
	channel int // the index of its data channel
}

// audience is who receives messages, by label. It is never changed, but replaced.
type audience map[string][]listener

// listen lets a member whose data channels are open receive messages.
func (w *worker) listen(m *member) {
	if !slices.Contains(w.members, m) {
		return
	}
	w.replaceAudience(func(all audience) {
		for i, c := range m.conn.data.channels {
			if messaging(c.Label) && c.Direction.Receives() {
				all[c.Label] = append(slices.Clip(all[c.Label]), listener{m.conn.data, i})
			}
		}
	})
}

// unlisten takes a member out of the audience.
func (w *worker) unlisten(m *member) {
	if m.conn.data == nil {
		return
	}
	w.replaceAudience(func(all audience) {
		for _, c := range m.conn.data.channels {
			others := slices.DeleteFunc(slices.Clone(all[c.Label]), func(l listener) bool { return l.to == m.conn.data })
			if all[c.Label] = others; len(others) == 0 {
				delete(all, c.Label)
			}
		}
	})
}

func (w *worker) replaceAudience(change func(audience)) {
	all := audience{}
	if old := w.channel.audience.Load(); old != nil {
		all = maps.Clone(*old)
	}
	change(all)
	w.channel.audience.Store(&all)
}

// publish sends a message of the client to the others.
func (d *data) publish(c *DataChannel, message []byte, binary bool) {
	counters := d.conn.sfu.counters
	if !c.Direction.Sends() {
		counters.dropData(dataDirection, 1)
		return
	}
	p := post{sender: d.conn.ID()}
	if !c.Compress {
		p.forms[plainly] = message
	} else {
		plain, err := inflate(message, transport.MaxDataMessage)
		if err != nil || !binary {
			counters.dropData(dataBadCompression, 1)
			return
		}
		p.forms[plainly], p.forms[deflated] = plain, message
	}
	all := d.conn.home().audience.Load()
	if all == nil {
		return
	}
	for _, l := range (*all)[c.Label] {
		if l.to.conn.request.BundleID == d.conn.request.BundleID { // itself among them
			continue
		}
		wish := &l.to.channels[l.channel]
		err := l.to.send(l.channel, p.form(wish), true)
		switch {
		case errors.Is(err, transport.ErrDataFull):
			counters.dropData(dataReceiverFull, 1)
		case errors.Is(err, transport.ErrMessageTooLarge):
			counters.dropData(dataTooLarge, 1)
		case err != nil: // it is leaving, or has closed the channel
			counters.dropData(dataReceiverGone, 1)
		}
	}
}

// The forms in which receivers want a message.
const (
	plainly      = iota
	deflated     // compressed
	withHeader   // behind the sender's connection id
	withDeflated // both
	forms
)

// post is one message on its way to all its receivers.
type post struct {
	sender string
	forms  [forms][]byte // nil: nobody has wanted it yet, but for the first
}

// form is the message as a receiver wants it, made once for all.
func (p *post) form(wish *DataChannel) []byte {
	at := plainly
	switch {
	case wish.Compress && wish.SenderHeader:
		at = withDeflated
	case wish.Compress:
		at = deflated
	case wish.SenderHeader:
		at = withHeader
	}
	if p.forms[at] == nil {
		switch at {
		case deflated:
			p.forms[at] = Deflate(p.forms[plainly])
		case withHeader:
			p.forms[at] = slices.Concat([]byte(p.sender), p.forms[plainly])
		case withDeflated:
			p.forms[at] = Deflate(slices.Concat([]byte(p.sender), p.forms[plainly]))
		}
	}
	return p.forms[at]
}
