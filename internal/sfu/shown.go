package sfu

import "sync/atomic"

// SentLayer is one layer of a publisher's simulcast.
type SentLayer struct {
	RID     string
	Sent    bool  // it is being sent now
	BitRate int64 // in bit/s, smoothed; 0: not known
	Viewers int   // it goes to so many
}

// ShownLayer is which layer a receiver gets of a publisher.
type ShownLayer struct {
	Sender string // connection id
	RID    string // none: nothing
}

// publishedLayers is what is known of a connection's simulcast, for anybody to
// read.
type publishedLayers struct {
	sent  atomic.Pointer[[]SentLayer]
	shown atomic.Pointer[[]ShownLayer]
}

// store brings it up to date; of whom has nothing to do with simulcast nothing is.
func (p *publishedLayers) store(w *worker, m *member) {
	if t := m.ups[video]; t != nil && t.simulcast() {
		sent := make([]SentLayer, len(t.layers))
		for i, l := range t.layers {
			sent[i] = SentLayer{l.rid, l.sent(w.now), int64(l.rate.bits), len(l.viewers)}
		}
		p.sent.Store(&sent)
	}
	var shown []ShownLayer
	for _, s := range m.sections {
		if d := s.down; d != nil && d.bound && d.shown != "" {
			shown = append(shown, ShownLayer{d.source.owner.conn.ID(), d.shown})
		}
	}
	if shown != nil || p.shown.Load() != nil {
		p.shown.Store(&shown)
	}
}

// fill completes what is known about a connection.
func (p *publishedLayers) fill(i *ConnectionInfo) {
	if sent := p.sent.Load(); sent != nil {
		i.SentLayers = *sent
	}
	if shown := p.shown.Load(); shown != nil {
		i.ShownLayers = *shown
	}
}
