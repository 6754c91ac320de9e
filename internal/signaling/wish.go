package signaling

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/hibari/hibari/internal/sfu"
)

// Bit rates a client may ask for, in kbit/s.
const (
	audioKbitLeast, audioKbitMost = 6, 510
	videoKbitLeast, videoKbitMost = 1, 30_000
)

// readAudio reads what a client wants of audio: true, false, or an object with
// details; true if it says nothing.
func readAudio(f fields) sfu.MediaWish {
	wish, details := readMedia(f, "audio")
	if codec := strings.ToUpper(details.Text("codec_type")); codec != "" && codec != "OPUS" {
		details.Fail("codec_type", "must be OPUS")
	} else {
		wish.Codec = codec
	}
	wish.BitRate = details.Number("bit_rate", audioKbitLeast, audioKbitMost)
	opus := details.Object("opus_params")
	wish.Params = opusParams(opus)
	return wish
}

// readVideo likewise. The old dialect writes codecType.
func readVideo(f fields) sfu.MediaWish {
	wish, details := readMedia(f, "video")
	wish.Codec = firstOf(videoCodec(details, "codec_type"), videoCodec(details, "codecType"))
	wish.BitRate = details.Number("bit_rate", videoKbitLeast, videoKbitMost)
	params := map[string]string{}
	number := func(object, name, fmtp string, most int) {
		if o := details.Object(object); o.Raw(name) != nil {
			params[fmtp] = strconv.Itoa(o.Number(name, 0, most))
		}
	}
	switch wish.Codec {
	case "", "VP9":
		number("vp9_params", "profile_id", "profile-id", 3)
	case "AV1":
		number("av1_params", "profile", "profile", 2)
	case "H264":
		h264 := details.Object("h264_params")
		if level := h264.Text("profile_level_id"); level != "" {
			if _, err := strconv.ParseUint(level, 16, 24); err != nil || len(level) != 6 {
				h264.Fail("profile_level_id", "must be six hexadecimal digits")
			}
			params["profile-level-id"] = strings.ToLower(level)
		}
	}
	if len(params) > 0 {
		wish.Params = params
	}
	return wish
}

// readMedia reads the switch of a kind of media, and its details if any.
func readMedia(f fields, kind string) (sfu.MediaWish, fields) {
	raw := f.Raw(kind)
	if bytes.HasPrefix(raw, []byte("{")) {
		return sfu.MediaWish{Enabled: true}, f.Object(kind)
	}
	var on bool
	if raw != nil && json.Unmarshal(raw, &on) != nil {
		f.Fail(kind, "must be true, false or an object")
	}
	return sfu.MediaWish{Enabled: raw == nil || on}, f.Empty(kind)
}

// videoCodec reads the name of a video codec; "" if absent.
func videoCodec(f fields, name string) string {
	codec := strings.ToUpper(f.Text(name))
	switch codec {
	case "", "VP8", "VP9", "AV1", "H264":
		return codec
	}
	f.Fail(name, "must be one of VP8, VP9, AV1, H264")
	return ""
}

// opusParams turns opus_params into the parameters of an SDP fmtp line (RFC
// 7587 §6.1); nil if there are none.
func opusParams(f fields) map[string]string {
	params := map[string]string{}
	for _, p := range []struct {
		name, fmtp  string
		least, most int
	}{
		{"maxplaybackrate", "maxplaybackrate", 8000, 48000},
		{"minptime", "minptime", 3, 120},
		{"ptime", "ptime", 3, 120},
	} {
		if f.Raw(p.name) != nil {
			params[p.fmtp] = strconv.Itoa(f.Number(p.name, p.least, p.most))
		}
	}
	for _, p := range []struct{ name, fmtp string }{
		{"stereo", "stereo"}, {"sprop_stereo", "sprop-stereo"}, {"useinbandfec", "useinbandfec"}, {"usedtx", "usedtx"},
	} {
		if f.Raw(p.name) != nil {
			params[p.fmtp] = "0"
			if f.Flag(p.name, false) {
				params[p.fmtp] = "1"
			}
		}
	}
	if len(params) == 0 {
		return nil
	}
	return params
}
