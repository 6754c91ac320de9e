package sfu_test

import (
	"slices"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/browsertest"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/sfu/transport"
)

// TestTwoBrowsers lets Chromium and Firefox publish and watch in one channel:
// how their media is encrypted, and whether sound and picture stay together.
func TestTwoBrowsers(t *testing.T) {
	s := newStage(t)
	chromium, firefox := browsertest.Chromium(t, nil), browsertest.Firefox(t, nil)
	publishers := []tab{
		s.publish(t, chromium, "VP8", camera{Width: 320, Height: 240, Clapper: true}),
		s.publish(t, firefox, "VP8", camera{Width: 320, Height: 240}),
	}
	viewers := []tab{s.watch(t, chromium), s.watch(t, firefox)}
	for _, v := range viewers {
		for _, p := range publishers {
			v.plays(p, 20)
		}
	}
	for _, p := range append(slices.Clone(publishers), viewers...) {
		checkCipher(t, p)
	}
	if n := s.port.Stats().Handshakes[transport.ProfileGCM128]; n != 4 {
		t.Errorf("%d handshakes agreed on AES-128-GCM, want all 4", n)
	}
	browsertest.Eval[bool](viewers[0].Page, "attend(%s)", publishers[0].conn.ID())
	checkSync(t, "at first", viewers, publishers)
	checkClaps(t, viewers[0])

	// Other tracks under the same SSRCs, and somebody who comes late.
	for _, p := range publishers {
		browsertest.Eval[bool](p.Page, "change(%s)", camera{Width: 480, Height: 360, FrameRate: 20})
	}
	late := s.watch(t, chromium)
	viewers = append(viewers, late)
	for _, p := range publishers {
		late.plays(p, 20)
	}
	checkSync(t, "after a change of tracks", viewers, publishers)
}

// checkCipher: DTLS 1.2 with us as the server, and AES-128-GCM for media, which
// costs us a sixth of AES-CM.
func checkCipher(t *testing.T, p tab) {
	t.Helper()
	type cipher struct{ state, role, version, dtls, srtp string }
	r := p.transport()
	got := cipher{r.DTLSState, r.DTLSRole, r.TLSVersion, r.DTLSCipher, r.SRTPCipher}
	want := cipher{"connected", "client", "FEFD", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "SRTP_AEAD_AES_128_GCM"}
	if got != want {
		t.Errorf("%s ended up on %+v, want %+v", p.name, got, want)
	}
}

const (
	// syncBound is how far apart sound and picture of one moment may be played:
	// people accept 90 ms of early and 185 ms of late sound (ITU-R BT.1359).
	syncBound = 80 * time.Millisecond
	// syncDelay is how old they may be when they are played.
	syncDelay = time.Second
	// syncSpan is for how long, on the clock of our sender reports.
	syncSpan = 10 * time.Second
	// syncPatience is how long a viewer may take to get there: browsers move sound
	// and picture together in small steps, and anew after a pause of the machine.
	syncPatience = 90 * time.Second
)

// pair is what one viewer sees of one publisher.
type pair struct {
	viewer, publisher tab

	// Of the looks since the beginning of the present span.
	apart, age []time.Duration // picture before sound; of the sound
	since      float64         // remoteTimestamp then
	done       bool
}

// checkSync watches every publisher at every viewer until sound and picture have
// been together for ten seconds of sender reports. The median of a span counts:
// a single look may find a browser making up for a pause.
func checkSync(t *testing.T, when string, viewers, publishers []tab) {
	t.Helper()
	var pairs []*pair
	for _, v := range viewers {
		for _, p := range publishers {
			pairs = append(pairs, &pair{viewer: v, publisher: p})
		}
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < syncPatience; <-tick.C {
		missing := false
		for _, v := range viewers {
			all := v.stats()
			for _, p := range pairs {
				if p.viewer == v && !p.done {
					p.look(t, all)
					missing = missing || !p.done
				}
			}
		}
		if !missing {
			return
		}
	}
	for _, p := range pairs {
		if !p.done {
			t.Errorf("%s at %s %s: sound and picture did not come together; the last looks: %v apart, %v old", p.publisher.name, p.viewer.name, when, p.apart, p.age)
		}
	}
}

// look notes how far apart sound and picture are, and ends a span that is over.
func (p *pair) look(t *testing.T, all []report) {
	t.Helper()
	sound, picture := inbound(all, p.publisher, "audio"), inbound(all, p.publisher, "video")
	told := min(reported(all, sound), reported(all, picture))
	if told == 0 || sound.EstimatedPlayoutTimestamp == 0 || picture.EstimatedPlayoutTimestamp == 0 {
		return
	}
	if p.since == 0 {
		p.since = told
	}
	p.apart = append(p.apart, milliseconds(picture.EstimatedPlayoutTimestamp-sound.EstimatedPlayoutTimestamp))
	p.age = append(p.age, milliseconds(sound.Timestamp-sinceUnix(sound.EstimatedPlayoutTimestamp)))
	if milliseconds(told-p.since) < syncSpan {
		return
	}
	slices.Sort(p.apart)
	slices.Sort(p.age)
	apart, age := p.apart[len(p.apart)/2], p.age[len(p.age)/2]
	p.done = apart.Abs() <= syncBound && age.Abs() <= syncDelay
	t.Logf("%s at %s: picture before sound by %v (%v to %v), %v old", p.publisher.name, p.viewer.name, apart, p.apart[0], p.apart[len(p.apart)-1], age)
	if !p.done {
		p.apart, p.age, p.since = nil, nil, told
	}
}

// clapBound is how far apart the flash and the beep of one moment may come out.
// Canvas and WebAudio, at both ends, have up to 100 ms of it; getStats could not
// tell a picture whose sender reports are wrong, for browsers believe those.
const clapBound = 180 * time.Millisecond

// checkClaps waits until a viewer has noticed eight claps in a row of which most
// came out together.
func checkClaps(t *testing.T, v tab) {
	t.Helper()
	var apart []float64 // by how many ms each was heard later than seen
	ok := sfutest.Eventually(syncPatience, func() bool {
		all := browsertest.Eval[[]float64](v.Page, "claps()")
		apart = all[max(0, len(all)-8):]
		slices.Sort(apart)
		return len(apart) == 8 && milliseconds(apart[4]).Abs() <= clapBound
	})
	if t.Logf("claps: picture before sound by %.0f ms", apart); !ok {
		t.Errorf("%s: what was begun together is not heard when it is seen, within %v", v.name, clapBound)
	}
}

// reported is the time in the newest sender report of a stream; 0: there is none.
func reported(all []report, stream report) float64 {
	for _, r := range all {
		if r.Type == "remote-outbound-rtp" && r.LocalID == stream.ID && stream.ID != "" {
			return r.RemoteTimestamp
		}
	}
	return 0
}

// sinceUnix is a playout timestamp in Unix milliseconds: Chromium counts from 1900,
// as the specification says, Firefox from 1970.
func sinceUnix(playout float64) float64 {
	if playout > 2_208_988_800_000 {
		playout -= 2_208_988_800_000
	}
	return playout
}
