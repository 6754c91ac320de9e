package stats

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"time"
)

const (
	// MaxReportBytes is the longest report of a client that is read.
	MaxReportBytes = 256 << 10
	// maxReportStats is how many RTCStats objects a report has at most, and
	// maxReportDepth how many objects and lists may stand in each other in it.
	maxReportStats = 2000
	maxReportDepth = 8
)

// Client is what a client's report says that we cannot see ourselves. Counts and
// times are totals over all of its streams of the kind; those of streams that have
// gone are not in it any more.
type Client struct {
	Reports                   int64         // that came so far; 0 in a sample: no new one
	RTT                       time.Duration // of the candidate pair in use
	AvailableOut, AvailableIn int64         // estimated, in bit/s
	FramesEncoded             int64
	FramesDecoded             int64
	FramesDropped             int64
	Freezes                   int64
	Frozen                    time.Duration
	AudioBuffer, VideoBuffer  int64 // jitterBufferDelay in ms: the sum over all that was played
	AudioEmitted              int64 // jitterBufferEmittedCount: samples of audio
	VideoEmitted              int64 // and pictures
	Concealed, Samples        int64 // of audio
	AudioLevel                int64 // in millionths of the loudest
	Limitation                Limitation
	Candidate                 Candidate
}

// Limitation is W3C's qualityLimitationReason; 0: not told.
type Limitation int64

// The limitations, the worst last.
const (
	LimitationNone Limitation = iota + 1
	LimitationOther
	LimitationBandwidth
	LimitationCPU
)

var limitations = [...]string{"", "none", "other", "bandwidth", "cpu"}

// String is W3C's word; "": not told.
func (l Limitation) String() string { return wordOf(limitations[:], int64(l)) }

// Candidate is how the client reaches us: the type of its local candidate (RFC 8445)
// and the protocol; 0: not told.
type Candidate int64

var candidates = [...]string{"", "host/udp", "srflx/udp", "prflx/udp", "relay/udp", "host/tcp", "srflx/tcp", "prflx/tcp", "relay/tcp"}

// String is TYPE/PROTOCOL; "": not told.
func (c Candidate) String() string { return wordOf(candidates[:], int64(c)) }

func wordOf(words []string, i int64) string {
	if i < 0 || i >= int64(len(words)) {
		return ""
	}
	return words[i]
}

// numberOf is the index of a word; 0: it is none of them.
func numberOf(words []string, word string) int64 {
	for i, w := range words {
		if w == word {
			return int64(i)
		}
	}
	return 0
}

// rtcStat are the members of all RTCStats that are read (W3C webrtc-stats).
type rtcStat struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Kind string `json:"kind"`

	SelectedPair string `json:"selectedCandidatePairId"` // transport

	// candidate-pair
	Selected       bool    `json:"selected"` // Firefox
	Nominated      bool    `json:"nominated"`
	State          string  `json:"state"`
	LocalCandidate string  `json:"localCandidateId"`
	RTT            float64 `json:"currentRoundTripTime"`
	AvailableOut   float64 `json:"availableOutgoingBitrate"`
	AvailableIn    float64 `json:"availableIncomingBitrate"`

	// local-candidate
	CandidateType string `json:"candidateType"`
	Protocol      string `json:"protocol"`
	RelayProtocol string `json:"relayProtocol"`

	RoundTripTime float64 `json:"roundTripTime"` // remote-inbound-rtp

	// outbound-rtp
	FramesEncoded float64 `json:"framesEncoded"`
	Limitation    string  `json:"qualityLimitationReason"`

	// inbound-rtp
	FramesDecoded float64 `json:"framesDecoded"`
	FramesDropped float64 `json:"framesDropped"`
	Freezes       float64 `json:"freezeCount"`
	Frozen        float64 `json:"totalFreezesDuration"`
	Buffer        float64 `json:"jitterBufferDelay"`
	Emitted       float64 `json:"jitterBufferEmittedCount"`
	Concealed     float64 `json:"concealedSamples"`
	Samples       float64 `json:"totalSamplesReceived"`

	AudioLevel float64 `json:"audioLevel"` // media-source, inbound-rtp
}

var errReport = errors.New("the report is no list of RTCStats")

// ParseReport reads what a client reports of itself: a list of RTCStats. What it has
// too much of, what has no sense and what is of another type than W3C's counts as not
// told. The error is for what is no such list, or larger than reports are.
func ParseReport(report []byte) (c Client, err error) {
	if len(report) > MaxReportBytes || depthOf(report) > maxReportDepth || !bytes.HasPrefix(bytes.TrimLeft(report, " \t\r\n"), []byte("[")) {
		return c, errReport
	}
	var list []rtcStat
	err = json.Unmarshal(report, &list)
	if err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) || len(list) > maxReportStats {
		return c, errReport
	}
	c.read(list)
	return c, nil
}

// depthOf is how deep objects and lists stand in each other.
func depthOf(report []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(report); i++ {
		switch b := report[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '[' || b == '{':
			depth++
			deepest = max(deepest, depth)
		case b == ']' || b == '}':
			depth--
		}
	}
	return deepest
}

// read takes what the list says.
func (c *Client) read(list []rtcStat) {
	pairID := ""
	for i := range list {
		if s := &list[i]; s.Type == "transport" && s.SelectedPair != "" {
			pairID = s.SelectedPair
		}
	}
	candidate := ""
	for i := range list {
		s := &list[i]
		switch s.Type {
		case "candidate-pair":
			if s.ID != "" && s.ID == pairID || pairID == "" && (s.Selected || s.Nominated && s.State == "succeeded") {
				candidate = s.LocalCandidate
				c.RTT = seconds(s.RTT)
				c.AvailableOut, c.AvailableIn = count(s.AvailableOut), count(s.AvailableIn)
			}
		case "inbound-rtp":
			c.readInbound(s)
		case "outbound-rtp":
			c.FramesEncoded = sum(c.FramesEncoded, count(s.FramesEncoded))
			c.Limitation = max(c.Limitation, Limitation(numberOf(limitations[:], s.Limitation)))
		case "media-source":
			if s.Kind == "audio" {
				c.AudioLevel = max(c.AudioLevel, millionths(s.AudioLevel))
			}
		}
	}
	for i := range list {
		switch s := &list[i]; {
		case s.Type == "remote-inbound-rtp" && c.RTT == 0:
			c.RTT = seconds(s.RoundTripTime) // where the pair does not tell
		case s.Type == "local-candidate" && candidate != "" && s.ID == candidate:
			protocol := s.Protocol
			if s.RelayProtocol != "" {
				protocol = s.RelayProtocol
			}
			if protocol != "udp" {
				protocol = "tcp" // TLS, too
			}
			c.Candidate = Candidate(numberOf(candidates[:], s.CandidateType+"/"+protocol))
		}
	}
}

// readInbound takes what is said of a stream that the client receives.
func (c *Client) readInbound(s *rtcStat) {
	if s.Kind == "audio" {
		c.AudioBuffer = sum(c.AudioBuffer, count(s.Buffer*1000))
		c.AudioEmitted = sum(c.AudioEmitted, count(s.Emitted))
		c.Concealed = sum(c.Concealed, count(s.Concealed))
		c.Samples = sum(c.Samples, count(s.Samples))
		c.AudioLevel = max(c.AudioLevel, millionths(s.AudioLevel))
		return
	}
	c.VideoBuffer = sum(c.VideoBuffer, count(s.Buffer*1000))
	c.VideoEmitted = sum(c.VideoEmitted, count(s.Emitted))
	c.FramesDecoded = sum(c.FramesDecoded, count(s.FramesDecoded))
	c.FramesDropped = sum(c.FramesDropped, count(s.FramesDropped))
	c.Freezes = sum(c.Freezes, count(s.Freezes))
	c.Frozen = time.Duration(sum(int64(c.Frozen), int64(seconds(s.Frozen))))
}

// most is the largest figure that is believed: the sum of two fits an int64.
const most = 1 << 60

// count is a figure that cannot be less than nothing.
func count(v float64) int64 {
	if math.IsNaN(v) || v < 0 {
		return 0
	}
	return int64(min(v, most))
}

func sum(a, b int64) int64 { return min(a+b, most) }

// seconds is a time that a report tells in seconds.
func seconds(v float64) time.Duration { return time.Duration(count(v * float64(time.Second))) }

// millionths is a part of one.
func millionths(v float64) int64 { return count(min(v, 1) * 1e6) }
