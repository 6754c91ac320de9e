package signaling

import (
	"bytes"
	"encoding/json"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// readAudio reads what a client wants of audio: true, false, or an object with
// details; true if it says nothing.
func readAudio(f fields) sfu.MediaWish {
	wish, details := readMedia(f, "audio")
	wish.Codec = tenant.ReadAudioCodec(details, "codec_type")
	wish.BitRate = details.Number("bit_rate", tenant.MinAudioKbit, tenant.MaxAudioKbit)
	wish.Params = tenant.ReadOpusParams(details, "opus_params").FMTP()
	return wish
}

// readVideo likewise. The old dialect writes codecType.
func readVideo(f fields) sfu.MediaWish {
	wish, details := readMedia(f, "video")
	wish.Codec = firstOf(tenant.ReadVideoCodec(details, "codec_type"), tenant.ReadVideoCodec(details, "codecType"))
	wish.BitRate = details.Number("bit_rate", tenant.MinVideoKbit, tenant.MaxVideoKbit)
	vp9 := tenant.ReadVP9Params(details, "vp9_params").FMTP()
	av1 := tenant.ReadAV1Params(details, "av1_params").FMTP()
	h264 := tenant.ReadH264Params(details, "h264_params").FMTP()
	switch wish.Codec {
	case "", "VP9":
		wish.Params = vp9
	case "AV1":
		wish.Params = av1
	case "H264":
		wish.Params = h264
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
