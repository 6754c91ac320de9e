package tenant

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// OpusParams are what may be asked of Opus (RFC 7587 §6.1); nil is not asked.
type OpusParams struct {
	Channels        *int  `json:"channels,omitempty"`   // 1 or 2; it stands in no fmtp line
	ClockRate       *int  `json:"clock_rate,omitempty"` // 48000; likewise
	MaxPlaybackRate *int  `json:"maxplaybackrate,omitempty"`
	MinPTime        *int  `json:"minptime,omitempty"` // milliseconds
	PTime           *int  `json:"ptime,omitempty"`    // milliseconds
	Stereo          *bool `json:"stereo,omitempty"`
	SpropStereo     *bool `json:"sprop_stereo,omitempty"`
	UseInbandFEC    *bool `json:"useinbandfec,omitempty"`
	UseDTX          *bool `json:"usedtx,omitempty"`
}

// VP9Params are what may be asked of VP9.
type VP9Params struct {
	ProfileID *int `json:"profile_id,omitempty"` // 0 to 3
}

// AV1Params are what may be asked of AV1.
type AV1Params struct {
	Profile *int `json:"profile,omitempty"` // 0 to 2
}

// H264Params are what may be asked of H.264.
type H264Params struct {
	ProfileLevelID string `json:"profile_level_id,omitempty"` // six hexadecimal digits, lower case
	BFrame         *bool  `json:"b_frame,omitempty"`
}

// H265Params are what may be asked of H.265.
type H265Params struct {
	LevelID *int  `json:"level_id,omitempty"`
	BFrame  *bool `json:"b_frame,omitempty"`
}

// Encoding is one layer of simulcast as the browser is told of it
// (RTCRtpEncodingParameters); a zero field is not told.
type Encoding struct {
	RID                   string   `json:"rid"`                  // r0, r1 or r2
	Active                *bool    `json:"active,omitempty"`     // nil: true
	MaxBitrate            int      `json:"maxBitrate,omitempty"` // bit/s
	MinBitrate            int      `json:"minBitrate,omitempty"` // bit/s
	MaxFramerate          float64  `json:"maxFramerate,omitempty"`
	ScaleResolutionDownBy float64  `json:"scaleResolutionDownBy,omitempty"` // at least 1
	ScaleResolutionDownTo *MaxSize `json:"scaleResolutionDownTo,omitempty"`
	AdaptivePtime         *bool    `json:"adaptivePtime,omitempty"`
	ScalabilityMode       string   `json:"scalabilityMode,omitempty"` // such as L1T1
}

// MaxSize bounds a picture, in pixels.
type MaxSize struct {
	MaxWidth  int `json:"maxWidth"`
	MaxHeight int `json:"maxHeight"`
}

const (
	maxEncodingBitrate = MaxVideoKbit * 1000
	maxPixels          = 16384
)

// readAudio reads the switch, as Sora's older answers write it with details
// inside, and the flat fields.
func (g *Grant) readAudio(f Fields) {
	on, inside := readSwitch(f, "audio")
	g.Audio = on
	g.AudioCodec = firstText(ReadAudioCodec(f, "audio_codec_type"), ReadAudioCodec(inside, "codec_type"))
	g.AudioBitRate = f.Number("audio_bit_rate", MinAudioKbit, MaxAudioKbit)
	if g.AudioBitRate == 0 {
		g.AudioBitRate = inside.Number("bit_rate", MinAudioKbit, MaxAudioKbit)
	}
	g.AudioOpusParams = ReadOpusParams(f, "audio_opus_params")
	if g.AudioOpusParams == nil {
		g.AudioOpusParams = ReadOpusParams(inside, "opus_params")
	}
}

func (g *Grant) readVideo(f Fields) {
	on, inside := readSwitch(f, "video")
	g.Video = on
	g.VideoCodec = firstText(ReadVideoCodec(f, "video_codec_type"), ReadVideoCodec(inside, "codec_type"))
	g.VideoBitRate = f.Number("video_bit_rate", MinVideoKbit, MaxVideoKbit)
	if g.VideoBitRate == 0 {
		g.VideoBitRate = inside.Number("bit_rate", MinVideoKbit, MaxVideoKbit)
	}
	g.VideoVP9Params = ReadVP9Params(f, "video_vp9_params")
	g.VideoAV1Params = ReadAV1Params(f, "video_av1_params")
	g.VideoH264Params = ReadH264Params(f, "video_h264_params")
	if f.Raw("video_h265_params") != nil {
		h265 := f.Object("video_h265_params")
		g.VideoH265Params = &H265Params{LevelID: h265.Count("level_id", 1, 255), BFrame: h265.Switch("b_frame")}
	}
}

// readSwitch reads true, false or an object, which means true and has details.
func readSwitch(f Fields, kind string) (*bool, Fields) {
	if bytes.HasPrefix(f.Raw(kind), []byte("{")) {
		return new(true), f.Object(kind)
	}
	return f.Switch(kind), f.Empty(kind)
}

func firstText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ReadAudioCodec reads the name of an audio codec; "" if absent.
func ReadAudioCodec(f Fields, name string) string {
	return codec(f, name, "OPUS")
}

// ReadVideoCodec reads the name of a video codec; "" if absent.
func ReadVideoCodec(f Fields, name string) string {
	return codec(f, name, "VP8", "VP9", "AV1", "H264")
}

func codec(f Fields, name string, known ...string) string {
	word := strings.ToUpper(f.Text(name))
	if f.Raw(name) == nil || slices.Contains(known, word) {
		return word
	}
	if len(known) == 1 {
		f.Fail(name, "must be "+known[0])
	} else {
		f.Fail(name, "must be one of "+strings.Join(known, ", "))
	}
	return ""
}

// ReadOpusParams reads what is asked of Opus; nil if absent.
func ReadOpusParams(f Fields, name string) *OpusParams {
	if f.Raw(name) == nil {
		return nil
	}
	o := f.Object(name)
	return &OpusParams{
		Channels:        o.Count("channels", 1, 2),
		ClockRate:       o.Count("clock_rate", 8000, 48000),
		MaxPlaybackRate: o.Count("maxplaybackrate", 8000, 48000),
		MinPTime:        o.Count("minptime", 3, 120),
		PTime:           o.Count("ptime", 3, 120),
		Stereo:          o.Switch("stereo"),
		SpropStereo:     o.Switch("sprop_stereo"),
		UseInbandFEC:    o.Switch("useinbandfec"),
		UseDTX:          o.Switch("usedtx"),
	}
}

// FMTP returns the parameters as those of an SDP fmtp line; nil if there are
// none, also of a nil p.
func (p *OpusParams) FMTP() map[string]string {
	if p == nil {
		return nil
	}
	var params fmtp
	params.number("maxplaybackrate", p.MaxPlaybackRate)
	params.number("minptime", p.MinPTime)
	params.number("ptime", p.PTime)
	params.flag("stereo", p.Stereo)
	params.flag("sprop-stereo", p.SpropStereo)
	params.flag("useinbandfec", p.UseInbandFEC)
	params.flag("usedtx", p.UseDTX)
	return params
}

// ReadVP9Params reads what is asked of VP9; nil if absent.
func ReadVP9Params(f Fields, name string) *VP9Params {
	if f.Raw(name) == nil {
		return nil
	}
	return &VP9Params{ProfileID: f.Object(name).Count("profile_id", 0, 3)}
}

// FMTP is as that of OpusParams.
func (p *VP9Params) FMTP() map[string]string {
	if p == nil {
		return nil
	}
	var params fmtp
	params.number("profile-id", p.ProfileID)
	return params
}

// ReadAV1Params reads what is asked of AV1; nil if absent.
func ReadAV1Params(f Fields, name string) *AV1Params {
	if f.Raw(name) == nil {
		return nil
	}
	return &AV1Params{Profile: f.Object(name).Count("profile", 0, 2)}
}

// FMTP is as that of OpusParams.
func (p *AV1Params) FMTP() map[string]string {
	if p == nil {
		return nil
	}
	var params fmtp
	params.number("profile", p.Profile)
	return params
}

// ReadH264Params reads what is asked of H.264; nil if absent.
func ReadH264Params(f Fields, name string) *H264Params {
	if f.Raw(name) == nil {
		return nil
	}
	o := f.Object(name)
	p := &H264Params{ProfileLevelID: strings.ToLower(o.Text("profile_level_id")), BFrame: o.Switch("b_frame")}
	if _, err := strconv.ParseUint(p.ProfileLevelID, 16, 24); p.ProfileLevelID != "" && (err != nil || len(p.ProfileLevelID) != 6) {
		o.Fail("profile_level_id", "must be six hexadecimal digits")
	}
	return p
}

// FMTP is as that of OpusParams.
func (p *H264Params) FMTP() map[string]string {
	if p == nil || p.ProfileLevelID == "" {
		return nil
	}
	return fmtp{"profile-level-id": p.ProfileLevelID}
}

// fmtp are the parameters of an SDP fmtp line; nil: none.
type fmtp map[string]string

func (m *fmtp) set(name, value string) {
	if *m == nil {
		*m = fmtp{}
	}
	(*m)[name] = value
}

func (m *fmtp) number(name string, n *int) {
	if n != nil {
		m.set(name, strconv.Itoa(*n))
	}
}

func (m *fmtp) flag(name string, on *bool) {
	switch {
	case on == nil:
	case *on:
		m.set(name, "1")
	default:
		m.set(name, "0")
	}
}

// readEncodings reads the layers of simulcast; nil if absent.
func readEncodings(f Fields, name string) []Encoding {
	list := f.Objects(name, len(layers))
	if list == nil {
		return nil
	}
	found := make([]Encoding, 0, len(list))
	for _, o := range list {
		e := Encoding{
			RID:                   o.Choice("rid", layers...),
			Active:                o.Switch("active"),
			MaxBitrate:            o.Number("maxBitrate", 1, maxEncodingBitrate),
			MinBitrate:            o.Number("minBitrate", 1, maxEncodingBitrate),
			MaxFramerate:          o.Quantity("maxFramerate", 0.1, 1000),
			ScaleResolutionDownBy: o.Quantity("scaleResolutionDownBy", 1, 1000),
			AdaptivePtime:         o.Switch("adaptivePtime"),
			ScalabilityMode:       o.Name("scalabilityMode"),
		}
		if o.Raw("scaleResolutionDownTo") != nil {
			size := o.Object("scaleResolutionDownTo")
			e.ScaleResolutionDownTo = &MaxSize{size.Number("maxWidth", 1, maxPixels), size.Number("maxHeight", 1, maxPixels)}
			if f.Err() == nil && (e.ScaleResolutionDownTo.MaxWidth == 0 || e.ScaleResolutionDownTo.MaxHeight == 0) {
				o.Fail("scaleResolutionDownTo", "needs maxWidth and maxHeight")
			}
		}
		switch {
		case e.RID == "":
			o.Fail("rid", "is missing")
		case len(found) > 0 && found[len(found)-1].RID >= e.RID:
			f.Fail(name, "must be in the order r0, r1, r2, each once")
		}
		found = append(found, e)
	}
	return found
}
