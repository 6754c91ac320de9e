package load

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/stun/v3"
)

// What the poller does with a lean viewer's datagrams and when time has passed.
// All of it runs on the poller's goroutine.

const (
	firstChecks  = 50 * time.Millisecond // until the server answers
	laterChecks  = 2500 * time.Millisecond
	reportsEvery = time.Second
)

// datagram takes one datagram, which is not kept, and when it came, counted
// from the run's epoch.
func (v *leanViewer) datagram(b []byte, at time.Duration) {
	switch {
	case len(b) < 12:
	case b[0] <= 3:
		v.stun(b)
	case b[0] >= 20 && b[0] <= 63:
		select {
		case v.records <- slices.Clone(b):
		default: // DTLS repeats
		}
	case b[0] >= 128 && b[0] <= 191 && (b[1] < 192 || b[1] > 223):
		v.rtp(b, at)
	}
}

// rtp notes one packet, mostly by its header alone.
func (v *leanViewer) rtp(b []byte, came time.Duration) {
	m := v.media.Load()
	if m == nil {
		return // the handshake is not over on our side
	}
	ssrc, seq := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
	s := v.source(ssrc)
	if s != nil && seq%v.every != 0 {
		s.last = seq
		v.got(s.stamp.publisher, s.stamp.number+uint64(int64(int16(seq-s.seq))))
		return
	}
	packet, err := m.in.DecryptRTP(m.plain[:0], b, nil)
	if err != nil {
		return
	}
	at, ok := readStamp(packet)
	if !ok {
		return
	}
	if s == nil {
		v.sources = append(v.sources, leanSource{ssrc: ssrc})
		s = &v.sources[len(v.sources)-1]
	}
	s.seq, s.last, s.stamp = seq, seq, at
	v.got(at.publisher, at.number)
	v.delayed(came - at.sent)
}

func (v *leanViewer) source(ssrc uint32) *leanSource {
	for i := range v.sources {
		if v.sources[i].ssrc == ssrc {
			return &v.sources[i]
		}
	}
	return nil
}

// stun answers the server's checks and notes its answers to ours.
func (v *leanViewer) stun(b []byte) {
	m := &stun.Message{Raw: slices.Clone(b)}
	if m.Decode() != nil {
		return
	}
	switch m.Type {
	case stun.BindingSuccess:
		if !v.answered {
			v.answered = true
			v.nextCheck = time.Now().Add(laterChecks)
			close(v.checked)
		}
	case stun.BindingRequest:
		remote := v.offer.remote
		response, err := stun.Build(m, stun.BindingSuccess,
			&stun.XORMappedAddress{IP: net.IP(remote.Addr().AsSlice()), Port: int(remote.Port())},
			stun.NewShortTermIntegrity(v.pwd), stun.Fingerprint)
		if err == nil {
			v.socket.send(response.Raw)
		}
	}
}

// due does what time asks for.
func (v *leanViewer) due(now time.Time) {
	if now.After(v.nextCheck) {
		v.nextCheck = now.Add(firstChecks)
		if v.answered {
			v.nextCheck = now.Add(laterChecks)
		}
		v.check()
	}
	if m := v.media.Load(); m != nil && now.After(v.nextReport) {
		if v.nextReport.IsZero() {
			v.nextReport = now.Add(rand.N(reportsEvery))
			return
		}
		v.nextReport = now.Add(reportsEvery)
		v.report(m)
	}
}

// check sends an ICE check, which also proves consent (RFC 7675).
func (v *leanViewer) check() {
	number := binary.BigEndian.AppendUint32(nil, v.ssrc)
	setters := []stun.Setter{
		stun.TransactionID, stun.BindingRequest, stun.NewUsername(v.offer.ufrag + ":" + v.ufrag),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{0x6e, 0, 0xff, 0xff}},
	}
	tiebreaker := append(number, number...)
	if v.offer.lite {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrICEControlling, Value: tiebreaker}, stun.RawAttribute{Type: stun.AttrUseCandidate})
	} else {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrICEControlled, Value: tiebreaker})
	}
	setters = append(setters, stun.NewShortTermIntegrity(v.offer.pwd), stun.Fingerprint)
	if request, err := stun.Build(setters...); err == nil {
		v.socket.send(request.Raw)
	}
}

// report sends a receiver report about every source (RFC 3550 §6.4.2), as
// browsers do.
func (v *leanViewer) report(m *leanMedia) {
	if len(v.sources) == 0 {
		return
	}
	report := &rtcp.ReceiverReport{SSRC: v.ssrc}
	for _, s := range v.sources[:min(len(v.sources), 31)] {
		report.Reports = append(report.Reports, rtcp.ReceptionReport{SSRC: s.ssrc, LastSequenceNumber: uint32(s.last)})
	}
	plain, err := report.Marshal()
	if err != nil {
		return
	}
	if sealed, err := m.out.EncryptRTCP(nil, plain, nil); err == nil {
		v.socket.send(sealed)
	}
}
