package load

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/pion/stun/v3"
)

// What the poller does with a lean peer's datagrams and when time has passed.
// All of it runs on the poller's goroutine.

const (
	firstChecks  = 50 * time.Millisecond // until the server answers
	laterChecks  = 2500 * time.Millisecond
	reportsEvery = time.Second
)

// datagram takes one datagram, which is not kept, and when it came, counted
// from the run's epoch.
func (p *leanPeer) datagram(b []byte, came time.Duration) {
	switch {
	case len(b) < 12:
	case b[0] <= 3:
		p.stun(b)
	case b[0] >= 20 && b[0] <= 63:
		select {
		case p.records <- slices.Clone(b):
		default: // DTLS repeats
		}
	case b[0] >= 128 && b[0] <= 191:
		m := p.media.Load()
		switch {
		case m == nil: // the handshake is not over on our side
		case b[1] < 192 || b[1] > 223:
			p.handler.rtp(m, b, came)
		default:
			p.handler.rtcp(m, b)
		}
	}
}

// stun answers the server's checks and notes its answers to ours.
func (p *leanPeer) stun(b []byte) {
	m := &stun.Message{Raw: slices.Clone(b)}
	if m.Decode() != nil {
		return
	}
	switch m.Type {
	case stun.BindingSuccess:
		if !p.answered {
			p.answered = true
			p.nextCheck = time.Now().Add(laterChecks)
			close(p.checked)
		}
	case stun.BindingRequest:
		remote := p.offer.remote
		response, err := stun.Build(m, stun.BindingSuccess,
			&stun.XORMappedAddress{IP: net.IP(remote.Addr().AsSlice()), Port: int(remote.Port())},
			stun.NewShortTermIntegrity(p.pwd), stun.Fingerprint)
		if err == nil {
			p.socket.send(response.Raw)
		}
	}
}

// due does what time asks for.
func (p *leanPeer) due(now time.Time) {
	if now.After(p.nextCheck) {
		p.nextCheck = now.Add(firstChecks)
		if p.answered {
			p.nextCheck = now.Add(laterChecks)
		}
		p.check()
	}
	if m := p.media.Load(); m != nil && now.After(m.nextReport) {
		if m.nextReport.IsZero() {
			m.nextReport = now.Add(rand.N(reportsEvery))
			return
		}
		m.nextReport = now.Add(reportsEvery)
		p.handler.report(p, m)
	}
}

// check sends an ICE check, which also proves consent (RFC 7675).
func (p *leanPeer) check() {
	number := binary.BigEndian.AppendUint32(nil, p.ssrc)
	setters := []stun.Setter{
		stun.TransactionID, stun.BindingRequest, stun.NewUsername(p.offer.ufrag + ":" + p.ufrag),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{0x6e, 0, 0xff, 0xff}},
	}
	tiebreaker := append(number, number...)
	if p.offer.lite {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrICEControlling, Value: tiebreaker}, stun.RawAttribute{Type: stun.AttrUseCandidate})
	} else {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrICEControlled, Value: tiebreaker})
	}
	setters = append(setters, stun.NewShortTermIntegrity(p.offer.pwd), stun.Fingerprint)
	if request, err := stun.Build(setters...); err == nil {
		p.socket.send(request.Raw)
	}
}
