package signaling

import (
	"slices"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// SimulcastWish is what a client is to have of simulcast.
type SimulcastWish struct {
	On         bool              // it sends its video in layers, or knows that others do
	RequestRID string            // which layer it is to get of others: none, r0, r1, r2; "": the best
	RPCRIDs    []string          // what it may ask for later; nil: any
	Encodings  []tenant.Encoding // the layers it is to send; nil: the usual ones
}

// readSimulcast reads what a connect says of it. A wish under the newer name wins.
func readSimulcast(f fields, video bool) SimulcastWish {
	w := SimulcastWish{On: f.Flag("simulcast", false)}
	if w.On && !video {
		f.Fail("simulcast", "needs video")
	}
	old := f.Choice("simulcast_rid", "r0", "r1", "r2")
	w.RequestRID = firstOf(f.Choice("simulcast_request_rid", "none", "r0", "r1", "r2"), old)
	return w
}

// granted lays over it what the tenant decided.
func (w *SimulcastWish) granted(g tenant.Grant) {
	if g.Simulcast != nil {
		w.On = *g.Simulcast
	}
	w.RequestRID = firstOf(g.SimulcastRequestRID, g.SimulcastRID, w.RequestRID)
	w.RPCRIDs, w.Encodings = g.SimulcastRPCRIDs, g.SimulcastEncodings
}

// layers is what a publisher is told to send: always three layers, the lowest
// first; those that should not be are not active. SDKs want the mode said.
func (w *SimulcastWish) layers() []tenant.Encoding {
	usual := []tenant.Encoding{
		{RID: "r0", Active: new(true), ScaleResolutionDownBy: 4, ScalabilityMode: "L1T1"},
		{RID: "r1", Active: new(true), ScaleResolutionDownBy: 2, ScalabilityMode: "L1T1"},
		{RID: "r2", Active: new(true), ScaleResolutionDownBy: 1, ScalabilityMode: "L1T1"},
	}
	if w.Encodings == nil {
		return usual
	}
	for i := range usual {
		place := slices.IndexFunc(w.Encodings, func(e tenant.Encoding) bool { return e.RID == usual[i].RID })
		if place < 0 {
			usual[i].Active = new(false)
			continue
		}
		e := w.Encodings[place]
		if e.Active == nil {
			e.Active = new(true)
		}
		if e.ScalabilityMode == "" {
			e.ScalabilityMode = usual[i].ScalabilityMode
		}
		if e.ScaleResolutionDownBy == 0 && e.ScaleResolutionDownTo == nil {
			e.ScaleResolutionDownBy = usual[i].ScaleResolutionDownBy
		}
		usual[i] = e
	}
	return usual
}

// simulcast is what the media plane is told of it; nil: nothing.
func (v *visitor) simulcast() *sfu.Simulcast {
	w := &v.Simulcast
	sends := w.On && v.Video.Enabled
	if !sends && (v.Role.Sends() || w.RequestRID == "") {
		return nil
	}
	s := &sfu.Simulcast{RequestRID: w.RequestRID, RPCRIDs: w.RPCRIDs}
	for i, e := range w.layers() {
		s.Off[i] = !*e.Active
	}
	return s
}

// encodings is what the client is told to send; nil: it sends no layers.
func (v *visitor) encodings() []tenant.Encoding {
	if !v.Simulcast.On || !v.Video.Enabled || !v.Role.Sends() {
		return nil
	}
	return v.Simulcast.layers()
}

// switchedEvent is simulcast.switched.
type switchedEvent struct {
	event
	Sender   string   `json:"sender_connection_id"`
	Priority string   `json:"priority"` // higher or lower: the new layer, beside the one before
	Trigger  string   `json:"trigger"`  // sender or receiver
	RPCRIDs  []string `json:"rpc_rids"`
	AutoRIDs []string `json:"auto_rids"`
	Request  string   `json:"request_rid"`
	Current  string   `json:"current_rid"`
	Previous string   `json:"previous_rid"`
}

func switched(n *sfu.Notify, s *sfu.SimulcastSwitched) switchedEvent {
	priority := "lower"
	if s.Higher {
		priority = "higher"
	}
	return switchedEvent{
		event: eventOf(n), Sender: s.Sender, Priority: priority, Trigger: s.Trigger,
		RPCRIDs: s.RPCRIDs, AutoRIDs: s.AutoRIDs, Request: s.Request, Current: s.Current, Previous: s.Previous,
	}
}
