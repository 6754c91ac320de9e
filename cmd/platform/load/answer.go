package load

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

const uriMID = "urn:ietf:params:rtp-hdrext:sdes:mid"

// offered is what a lean viewer reads of an offer.
type offered struct {
	ufrag, pwd string
	lite       bool           // the server leaves the checks to us (RFC 8445 §2.5)
	remote     netip.AddrPort // its first UDP candidate on IPv4, or one on loopback
	sections   []*sdp.MediaDescription
}

// parseOffer reads an offer.
func parseOffer(text string) (*offered, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(text); err != nil {
		return nil, err
	}
	o := &offered{sections: d.MediaDescriptions}
	_, o.lite = d.Attribute("ice-lite")
	for _, m := range d.MediaDescriptions {
		if m.MediaName.Port.Value == 0 {
			continue
		}
		if o.ufrag == "" {
			o.ufrag, o.pwd = attribute(&d, m, "ice-ufrag"), attribute(&d, m, "ice-pwd")
		}
		for _, a := range m.Attributes {
			if a.Key != "candidate" {
				continue
			}
			// A server offers loopback when it listens on nothing else.
			if at := hostIPv4(a.Value); at.IsValid() && (!o.remote.IsValid() || at.Addr().IsLoopback()) {
				o.remote = at
			}
		}
	}
	if o.ufrag == "" || !o.remote.IsValid() {
		return nil, errors.New("the offer has no ICE credentials or no UDP candidate on IPv4")
	}
	return o, nil
}

// attribute is one of the section or, failing that, of the session.
func attribute(d *sdp.SessionDescription, m *sdp.MediaDescription, name string) string {
	if v, ok := m.Attribute(name); ok {
		return v
	}
	v, _ := d.Attribute(name)
	return v
}

// hostIPv4 is the address of a candidate that a lean viewer can use.
func hostIPv4(text string) netip.AddrPort {
	c, err := ice.UnmarshalCandidate(text)
	if err != nil || c.NetworkType() != ice.NetworkTypeUDP4 || c.Component() != 1 {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(c.Address())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, uint16(c.Port()))
}

// leanAnswer takes every section that is sent, in VP8 or Opus, or as a publisher
// sends in those that ask for it.
func (p *leanPeer) leanAnswer(o *offered) string {
	var b strings.Builder
	var mids []string
	for _, m := range o.sections {
		if mid, ok := m.Attribute("mid"); ok && m.MediaName.Port.Value != 0 {
			mids = append(mids, mid)
		}
	}
	p.answers++
	fmt.Fprintf(&b, "v=0\r\no=- 1 %d IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE %s\r\n", p.answers, strings.Join(mids, " "))
	for _, m := range o.sections {
		p.answerSection(&b, m)
	}
	return b.String()
}

func (p *leanPeer) answerSection(b *strings.Builder, m *sdp.MediaDescription) {
	kind, mid := m.MediaName.Media, ""
	mid, _ = m.Attribute("mid")
	pt, name := chosenFormat(m)
	if pt == "" || m.MediaName.Port.Value == 0 {
		fmt.Fprintf(b, "m=%s 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:%s\r\na=inactive\r\n", kind, mid)
		return
	}
	_, down := m.Attribute("sendonly")
	_, up := m.Attribute("recvonly")
	up = up && p.sends
	direction := "inactive"
	switch {
	case up:
		direction = "sendonly"
	case down:
		direction = "recvonly"
	}
	fmt.Fprintf(b, "m=%s 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0\r\na=mid:%s\r\na=%s\r\na=rtcp-mux\r\na=setup:active\r\n", kind, pt, mid, direction)
	fmt.Fprintf(b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:%s\r\na=rtpmap:%s %s\r\n", p.ufrag, p.pwd, p.fingerprint, pt, name)
	if kind == "video" {
		fmt.Fprintf(b, "a=rtcp-fb:%s nack\r\na=rtcp-fb:%s nack pli\r\n", pt, pt)
	}
	for _, a := range m.Attributes {
		if a.Key == "extmap" && strings.HasSuffix(a.Value, " "+uriMID) {
			fmt.Fprintf(b, "a=extmap:%s\r\n", a.Value)
		}
	}
	if up {
		number, _ := strconv.Atoi(pt) // chosenFormat has read it
		p.payloadType = uint8(number)
		fmt.Fprintf(b, "a=msid:bench track\r\na=ssrc:%d cname:bench\r\n", p.ssrc)
	}
	fmt.Fprintf(b, "a=candidate:1 1 udp 2130706431 %s %d typ host\r\n", p.local.Addr(), p.local.Port())
}

// chosenFormat is the payload type of VP8 or Opus and its rtpmap; "" if the
// section has neither.
func chosenFormat(m *sdp.MediaDescription) (pt, name string) {
	for _, a := range m.Attributes {
		if a.Key != "rtpmap" {
			continue
		}
		pt, name, _ := strings.Cut(a.Value, " ")
		if _, err := strconv.Atoi(pt); err != nil || !slices.Contains(m.MediaName.Formats, pt) {
			continue
		}
		switch strings.ToLower(name) {
		case "vp8/90000", "opus/48000/2":
			return pt, name
		}
	}
	return "", ""
}
