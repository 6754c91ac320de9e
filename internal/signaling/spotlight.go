package signaling

import (
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// SpotlightWish is what a client is to have of the spotlight.
type SpotlightWish struct {
	On                   bool
	Number               int               // how many are in focus; 0: the usual
	FocusRID, UnfocusRID string            // which layer it gets of those in focus, and of the others; "": the usual ones
	Encodings            []tenant.Encoding // the layers it is to send; nil: the usual ones
}

// readSpotlight reads what a connect says of it.
func readSpotlight(f fields) SpotlightWish {
	return SpotlightWish{
		On:         f.Flag("spotlight", false),
		Number:     f.Number("spotlight_number", 1, tenant.MaxSpotlightNumber),
		FocusRID:   f.Choice("spotlight_focus_rid", "none", "r0", "r1", "r2"),
		UnfocusRID: f.Choice("spotlight_unfocus_rid", "none", "r0", "r1", "r2"),
	}
}

// granted lays over it what the tenant decided.
func (w *SpotlightWish) granted(g tenant.Grant) {
	if g.Spotlight != nil {
		w.On = *g.Spotlight
	}
	if g.SpotlightNumber != 0 {
		w.Number = g.SpotlightNumber
	}
	w.FocusRID = firstOf(g.SpotlightFocusRID, w.FocusRID)
	w.UnfocusRID = firstOf(g.SpotlightUnfocusRID, w.UnfocusRID)
	w.Encodings = g.SpotlightEncodings
}

// imply has a client of the spotlight send its video in layers. Two are enough:
// one for those in focus, one for the others.
func (w *SpotlightWish) imply(s *SimulcastWish) {
	if !w.On {
		return
	}
	s.On = true
	switch {
	case w.Encodings != nil:
		s.Encodings = w.Encodings
	case s.Encodings == nil:
		s.Encodings = []tenant.Encoding{{RID: "r0"}, {RID: "r1"}}
	}
}

// spotlight is what the media plane is told of it; nil: nothing.
func (v *visitor) spotlight() *sfu.Spotlight {
	w := &v.Spotlight
	if !w.On {
		return nil
	}
	return &sfu.Spotlight{Number: w.Number, FocusRID: w.FocusRID, UnfocusRID: w.UnfocusRID}
}

// spotlightEvent is spotlight.focused or spotlight.unfocused.
type spotlightEvent struct {
	event
	ClientID     string `json:"client_id"`
	BundleID     string `json:"bundle_id"`
	ConnectionID string `json:"connection_id"`
	Audio        bool   `json:"audio"`
	Video        bool   `json:"video"`
	Fixed        bool   `json:"fixed"`
	Number       int    `json:"spotlight_number"`
}

func spotlighted(n *sfu.Notify, s *sfu.SpotlightChange) spotlightEvent {
	who := &n.Subject
	return spotlightEvent{
		event: eventOf(n), ClientID: who.ClientID, BundleID: who.BundleID, ConnectionID: who.ConnectionID,
		Audio: who.Audio, Video: who.Video, Fixed: s.Fixed, Number: s.Number,
	}
}
