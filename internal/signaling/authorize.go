package signaling

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/hibari/hibari/internal/tenant"
)

// Authorizer asks a tenant's own server about a client.
type Authorizer interface {
	// Authorize returns what the server grants. The error is a *tenant.Refusal:
	// the server's, or why it could not be asked. It returns soon after ctx ends.
	Authorize(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) (tenant.Grant, error)
}

// Said is what a client says of itself, for its tenant's server alone.
type Said struct {
	Metadata    json.RawMessage // any JSON; nil: none
	Client      string          // its software's name; "": none
	Environment string          // likewise
	Libwebrtc   string          // likewise
	// Params are what it asks of its codecs, in its own words; no other field is set.
	Params tenant.Grant
}

// readSaid reads it from the fields of a dialect; what is of another type says
// nothing.
func readSaid(f fields, metadata, client string) (s Said) {
	s.Metadata = f.Raw(metadata)
	for name, into := range map[string]*string{client: &s.Client, "environment": &s.Environment, "libwebrtc": &s.Libwebrtc} {
		var text string
		if json.Unmarshal(f.Raw(name), &text) == nil {
			*into = tenant.Printable(text, maxSaid)
		}
	}
	_, audio := readMedia(f, "audio")
	_, video := readMedia(f, "video")
	s.Params = tenant.Grant{
		AudioOpusParams: tenant.ReadOpusParams(audio, "opus_params"), VideoVP9Params: tenant.ReadVP9Params(video, "vp9_params"),
		VideoAV1Params: tenant.ReadAV1Params(video, "av1_params"), VideoH264Params: tenant.ReadH264Params(video, "h264_params"),
	}
	return s
}

// maxSaid bounds the names that software gives itself, in bytes.
const maxSaid = 512

// authorize asks the tenant's auth webhook, if it has one, and returns the claim
// with what that grants. A client that has to go to another node is asked about
// there.
func (d *Door) authorize(v visitor, o tenant.Opening, claim tenant.Claim) (tenant.Claim, error) {
	if claim.AuthWebhook == nil {
		return claim, nil
	}
	if d.authorizer == nil {
		return claim, errors.New("a tenant has an auth webhook, and nothing can ask it")
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.limits.Admit)
	counts, err := d.ledger.Look(ctx, o)
	cancel()
	if err != nil {
		return claim, err
	}
	token, _ := v.Token.(string) // it is one: it was verified
	answer, err := d.authorizer.Authorize(d.open, *claim.AuthWebhook, tenant.Arrival{
		Opening: o, AccessToken: token, Wish: v.wishOver(claim.Grant), Counts: counts,
		Said: v.Said.Metadata, Client: v.Said.Client, Environment: v.Said.Environment,
		Libwebrtc: v.Said.Libwebrtc,
	})
	if d.isDraining() {
		return claim, errDraining
	}
	if err != nil {
		return claim, err
	}
	claim.Grant = answer.Over(claim.Grant)
	return claim, nil
}

// wishOver is the wish with what is asked of the codecs, which the token may have set.
func (v *visitor) wishOver(g tenant.Grant) tenant.Grant {
	wish := v.wish()
	wish.AudioOpusParams = cmp.Or(g.AudioOpusParams, v.Said.Params.AudioOpusParams)
	wish.VideoVP9Params = cmp.Or(g.VideoVP9Params, v.Said.Params.VideoVP9Params)
	wish.VideoAV1Params = cmp.Or(g.VideoAV1Params, v.Said.Params.VideoAV1Params)
	wish.VideoH264Params = cmp.Or(g.VideoH264Params, v.Said.Params.VideoH264Params)
	if wish.SimulcastRequestRID != "none" {
		wish.SimulcastRID = wish.SimulcastRequestRID // its older name, which had no word for none
	}
	return wish
}
