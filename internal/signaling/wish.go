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
	wish.Params = videoParams(wish.Codec, tenant.ReadVP9Params(details, "vp9_params"),
		tenant.ReadAV1Params(details, "av1_params"), tenant.ReadH264Params(details, "h264_params"))
	return wish
}

// videoParams returns the parameters that are the codec's; nil if it has none.
func videoParams(codec string, vp9 *tenant.VP9Params, av1 *tenant.AV1Params, h264 *tenant.H264Params) map[string]string {
	switch codec {
	case "", "VP9":
		return vp9.FMTP()
	case "AV1":
		return av1.FMTP()
	case "H264":
		return h264.FMTP()
	}
	return nil
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
