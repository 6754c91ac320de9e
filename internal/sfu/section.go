package sfu

// section is one m-section of a connection's SDP. Sections are only ever added,
// at the end; one that is no longer needed becomes inactive and is reused. Owned
// by the channel's worker.
type section struct {
	mid     string
	kind    kind
	upload  bool
	data    bool // the data channels' (RFC 8841): no kind, formats or tracks
	formats []formatID
	wish    MediaWish // upload: bit rate and parameters to ask for
	layers  []*layer  // upload: what to ask for as simulcast (RFC 8853); none: no simulcast

	// down is what a download section shows; nil: nothing, the section is
	// inactive. Upload sections have none.
	down *downTrack
	// vacant: the client has agreed to the section being inactive, so that it
	// may show something else next.
	vacant bool
	// rejected: the client refused the section for good (port 0).
	rejected bool
}

// The header extensions offered, with the same ids in every section (RFC 8285
// wants ids of a bundle to agree).
const (
	extLevel     = 1 // RFC 6464
	extTime      = 2 // when a packet was sent
	extTransport = 3 // transport-wide congestion control
	extMID       = 4 // RFC 9143
	extRID       = 5 // RFC 8852: the layer
	extRepaired  = 6 // RFC 8852: the layer that a retransmission is of

	uriLevel     = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	uriTime      = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	uriTransport = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	uriMID       = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriRID       = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	uriRepaired  = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
)
