package sfu

import (
	"strings"

	"github.com/hibari/hibari/internal/sfu/codec"
)

// kind is audio or video. A publisher has at most one track of each.
type kind uint8

const (
	audio kind = iota
	video
	kinds // how many there are
)

func (k kind) String() string {
	if k == audio {
		return "audio"
	}
	return "video"
}

// clock is the RTP clock rate in Hz.
func (k kind) clock() uint32 {
	if k == audio {
		return 48_000
	}
	return 90_000
}

// format is a codec with its payload types. They are the same in every offer of
// the platform, so that the publishers who answer one share a table; who offers
// (answerer.go) brings its own.
type format struct {
	codec  string
	kind   kind
	pt     uint8
	rtx    uint8 // payload type of its retransmissions (RFC 4588); 0: none
	rtpmap string
	fmtp   string
}

// formats lists every codec, in the order of preference of an offer that leaves
// the choice to the client. The index of a codec here is its formatID.
var formats = [...]format{
	{codec.Opus, audio, 109, 0, "opus/48000/2", "minptime=10;stereo=1;useinbandfec=1"},
	{codec.VP8, video, 96, 97, "VP8/90000", ""},
	{codec.VP9, video, 98, 99, "VP9/90000", "profile-id=0"},
	{codec.H264, video, 102, 103, "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
	{codec.AV1, video, 100, 101, "AV1/90000", "level-idx=5;profile=0;tier=0"},
}

// formatID is an index into formats.
type formatID uint8

const formatCount = len(formats)

// formatOf finds the format of a codec's name, in any case.
func formatOf(name string) (formatID, bool) {
	for i := range formats {
		if strings.EqualFold(formats[i].codec, name) {
			return formatID(i), true
		}
	}
	return 0, false
}

// payload is what a payload type of an upload means.
type payload struct {
	format formatID
	known  bool
	rtx    bool
}

// payloadTable tells what each payload type of a connection's uploads means.
type payloadTable [128]payload

// payloadTypes is the table of all whose uploads we offered.
var payloadTypes = func() (table payloadTable) {
	for i, f := range formats {
		table[f.pt] = payload{format: formatID(i), known: true}
		if f.rtx != 0 {
			table[f.rtx] = payload{format: formatID(i), known: true, rtx: true}
		}
	}
	return table
}()

// uploadFormats is what a publisher may send of one kind.
func uploadFormats(k kind, wish MediaWish, anyCodec bool) []formatID {
	if id, ok := formatOf(wish.Codec); ok && formats[id].kind == k {
		return []formatID{id}
	}
	if anyCodec {
		return allFormats(k)
	}
	return allFormats(k)[:1]
}

// allFormats is every codec of one kind.
func allFormats(k kind) []formatID {
	var ids []formatID
	for i := range formats {
		if formats[i].kind == k {
			ids = append(ids, formatID(i))
		}
	}
	return ids
}
