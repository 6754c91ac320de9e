package ui

import (
	"net/http"
	"net/url"
	"strings"
)

// startData is what the first steps need to be ready to paste.
type startData struct {
	keyID     string // the newest active HS256 key; "": there is none
	publicURL string
	signaling string // the WebSocket URL
}

// start shows how to get from nothing to the first call.
func (c *Console) start(w http.ResponseWriter, r *http.Request, v *visit) error {
	data, err := c.readStart(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, startPage(v, data))
}

func (c *Console) readStart(r *http.Request, v *visit) (startData, error) {
	d := startData{publicURL: strings.TrimSuffix(c.PublicURL, "/")}
	if public, err := url.Parse(d.publicURL); err == nil {
		public.Scheme = strings.Replace(public.Scheme, "http", "ws", 1)
		d.signaling = public.JoinPath("signaling").String()
	}
	keys, err := c.Tenants.SigningKeys(r.Context(), v.login.Scope)
	for _, key := range keys { // newest first
		if key.Active(v.now) && key.Algorithm == "HS256" {
			d.keyID = key.ID
			break
		}
	}
	return d, err
}

// fill puts the tenant's own values into a snippet.
func (d startData) fill(text string) string {
	key := d.keyID
	if key == "" {
		key = "YOUR_SIGNING_KEY_ID"
	}
	return strings.NewReplacer("KEY_ID", key, "SIGNALING_URL", d.signaling, "PUBLIC_URL", d.publicURL).Replace(text)
}

// The snippets of the first steps. Each is whole: paste it and it runs.
const (
	nodeToken = `// npm install jsonwebtoken
import jwt from "jsonwebtoken";

export const accessToken = (channel, role) =>
  jwt.sign({ channel_id: channel, role }, process.env.HIBARI_SIGNING_KEY, {
    algorithm: "HS256",
    keyid: "KEY_ID",
    audience: "hibari",
    expiresIn: "10m",
  });`

	goToken = `// go get github.com/golang-jwt/jwt/v5
func accessToken(channel, role string) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"aud":        "hibari",
		"exp":        time.Now().Add(10 * time.Minute).Unix(),
		"channel_id": channel,
		"role":       role,
	})
	token.Header["kid"] = "KEY_ID"
	return token.SignedString([]byte(os.Getenv("HIBARI_SIGNING_KEY")))
}`

	pythonToken = `# pip install pyjwt
import os, time, jwt

def access_token(channel, role):
    claims = {"aud": "hibari", "exp": int(time.time()) + 600,
              "channel_id": channel, "role": role}
    return jwt.encode(claims, os.environ["HIBARI_SIGNING_KEY"],
                      algorithm="HS256", headers={"kid": "KEY_ID"})`

	publishCode = `// npm install sora-js-sdk
import Sora from "sora-js-sdk";

const camera = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
const publisher = Sora.connection("SIGNALING_URL")
  .sendonly("hello", { access_token: token }, { videoCodecType: "VP8" });
await publisher.connect(camera);`

	watchCode = `const viewer = Sora.connection("SIGNALING_URL")
  .recvonly("hello", { access_token: token });
viewer.on("track", (event) => {
  document.querySelector("video").srcObject = event.streams[0];
});
await viewer.connect();`

	listCode = `curl PUBLIC_URL/ \
  -H "Authorization: Bearer $HIBARI_API_KEY" \
  -H "x-sora-target: Sora_20151104.ListConnections" \
  -d '{"channelId": "hello"}'`
)
