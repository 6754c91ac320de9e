package stats_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/stats"
)

// What a browser says of itself.
func TestAReportIsRead(t *testing.T) {
	got, err := stats.ParseReport([]byte(`[
		{"id":"T","type":"transport","selectedCandidatePairId":"P2"},
		{"id":"P1","type":"candidate-pair","nominated":true,"state":"succeeded","currentRoundTripTime":9},
		{"id":"P2","type":"candidate-pair","localCandidateId":"L","currentRoundTripTime":0.0215,"availableOutgoingBitrate":1500000},
		{"id":"L","type":"local-candidate","candidateType":"relay","protocol":"udp","relayProtocol":"tls"},
		{"id":"I1","type":"inbound-rtp","kind":"video","framesDecoded":300,"framesDropped":2,"freezeCount":1,"totalFreezesDuration":0.5,"jitterBufferDelay":9,"jitterBufferEmittedCount":300},
		{"id":"I2","type":"inbound-rtp","kind":"video","framesDecoded":100},
		{"id":"I3","type":"inbound-rtp","kind":"audio","jitterBufferDelay":2400,"jitterBufferEmittedCount":48000,"concealedSamples":480,"totalSamplesReceived":48480,"audioLevel":0.25},
		{"id":"O1","type":"outbound-rtp","kind":"video","framesEncoded":600,"qualityLimitationReason":"bandwidth"},
		{"id":"O2","type":"outbound-rtp","kind":"video","framesEncoded":600,"qualityLimitationReason":"none"},
		{"id":"M","type":"media-source","kind":"audio","audioLevel":0.5}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := stats.Client{
		RTT: 21500 * time.Microsecond, AvailableOut: 1_500_000, FramesEncoded: 1200, FramesDecoded: 400, FramesDropped: 2, Freezes: 1,
		Frozen: 500 * time.Millisecond, AudioBuffer: 2_400_000, AudioEmitted: 48000, VideoBuffer: 9000, VideoEmitted: 300,
		Concealed: 480, Samples: 48480, AudioLevel: 500_000, Limitation: stats.LimitationBandwidth, Candidate: got.Candidate,
	}
	if got != want || got.Candidate.String() != "relay/tcp" || got.Limitation.String() != "bandwidth" {
		t.Errorf("got %+v (%s), want %+v", got, got.Candidate, want)
	}
	if d, ok := (&stats.ClientInterval{Client: got}).BufferDelay(false); !ok || d != 50*time.Millisecond {
		t.Errorf("audio waits for %s", d)
	}
}

// Reports that no browser makes: read as far as they make sense, or refused.
func TestReportsThatLieAreBounded(t *testing.T) {
	for report, ok := range map[string]bool{
		``: false, `{}`: false, `"x"`: false, `[`: false, `[1]`: true, `[[]]`: true, `[{}]`: true, `[]`: true, `null`: false,
		`[{"type":"candidate-pair","selected":true,"currentRoundTripTime":-5,"availableOutgoingBitrate":1e308}]`:          true,
		`[{"type":"inbound-rtp","kind":"video","framesDecoded":"many","freezeCount":{"a":[]},"jitterBufferDelay":1e999}]`: true,
		`[{"type":["inbound-rtp"]}]`:                                        true,
		strings.Repeat("[", 100) + strings.Repeat("]", 100):                 false,
		`[` + strings.Repeat(`{},`, 3000) + `{}]`:                           false,
		`["` + strings.Repeat("x", stats.MaxReportBytes) + `"]`:             false,
		`[{"type":"inbound-rtp","kind":"video","framesDecoded":NaN}]`:       false,
		"[{\"type\":\"media-source\",\"kind\":\"audio\",\"audioLevel\":7}]": true,
	} {
		c, err := stats.ParseReport([]byte(report))
		if (err == nil) != ok {
			t.Errorf("%.80s: %v", report, err)
		}
		if c.RTT < 0 || c.AvailableOut < 0 || c.AudioLevel > 1e6 {
			t.Errorf("%.80s: %+v", report, c)
		}
	}
}

// FuzzReport: whatever a client sends, the figures are such that the database takes
// them, and sums of them do not wrap.
func FuzzReport(f *testing.F) {
	for _, seed := range []string{
		`[{"id":"T","type":"transport","selectedCandidatePairId":"P"},{"id":"P","type":"candidate-pair","currentRoundTripTime":0.1,"localCandidateId":"L"},{"id":"L","type":"local-candidate","candidateType":"host","protocol":"udp"}]`,
		`[{"type":"inbound-rtp","kind":"audio","jitterBufferDelay":1e300,"audioLevel":-1},{"type":"inbound-rtp","kind":"audio","jitterBufferDelay":1e300}]`,
		`[{"type":"outbound-rtp","framesEncoded":18446744073709551615,"qualityLimitationReason":"cpu"}]`, `[{"\"`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, report []byte) {
		c, err := stats.ParseReport(report)
		if err != nil {
			return
		}
		if !json.Valid(report) {
			t.Errorf("%q was taken, and is no JSON", report)
		}
		for _, n := range []int64{int64(c.RTT), c.AvailableOut, c.AvailableIn, c.FramesEncoded, c.FramesDecoded, c.FramesDropped, c.Freezes, int64(c.Frozen),
			c.AudioBuffer, c.VideoBuffer, c.AudioEmitted, c.VideoEmitted, c.Concealed, c.Samples, c.AudioLevel, int64(c.Limitation), int64(c.Candidate)} {
			if n < 0 || n > 1<<60 {
				t.Errorf("%q makes %+v", report, c)
			}
		}
	})
}
