package sfu

import "time"

// trigger says whose doing a change of layer was.
type trigger string

const (
	bySender   trigger = "sender"   // what it sends has changed
	byReceiver trigger = "receiver" // what it wants, or what the way to it carries
)

// SimulcastSwitched is the Notify.Details of "simulcast.switched": what a connection
// receives of a sender's simulcast has changed.
type SimulcastSwitched struct {
	Sender   string   // connection id
	Higher   bool     // the new layer is better than the one before
	Trigger  string   // "sender" or "receiver"
	RPCRIDs  []string // what the connection may ask for
	AutoRIDs []string // what is being sent now, the lowest quality first
	Request  string   // what was asked for: none, a rid, or auto
	Current  string   // a rid, or none
	Previous string   // likewise
}

// notifySwitched tells a viewer that a view has changed to a layer.
func (w *worker) notifySwitched(d *downTrack, rid string) {
	if d.viewer.request().NoNotify {
		return
	}
	t := d.source
	s := &SimulcastSwitched{
		Sender:   t.owner.conn.ID(),
		Higher:   wish(rid).place() > wish(d.shown).place(),
		Trigger:  string(d.because),
		RPCRIDs:  d.viewer.rpcRIDs(),
		AutoRIDs: []string{},
		Request:  d.viewer.wishFor(t.owner).text(),
		Current:  rid,
		Previous: d.shown,
	}
	for _, l := range t.layers {
		if l.sent(w.now) {
			s.AutoRIDs = append(s.AutoRIDs, l.rid)
		}
	}
	w.signal(d.viewer, Signal{Kind: SignalNotify, Notify: &Notify{EventType: "simulcast.switched", Timestamp: time.Now(), Details: s}})
}

// rpcRIDs is what a viewer may ask for.
func (m *member) rpcRIDs() []string {
	if s := m.request().Simulcast; s != nil && s.RPCRIDs != nil {
		return s.RPCRIDs
	}
	return []string{string(wishNone), rids[0], rids[1], rids[2]}
}
