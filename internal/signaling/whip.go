package signaling

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Signalling over HTTP: WHIP (RFC 9725) for publishers and WHEP
// (draft-ietf-wish-whep) for viewers. One POST brings the client's offer and takes
// our answer back; what it made is a session with a URL of its own, where ICE can
// be restarted and which can be deleted (whip_session.go).

// wish is one of the two protocols, called after the working group of both.
type wish struct {
	name string // in the ledger and in paths
	role tenant.Role
}

var (
	whip = wish{"whip", tenant.SendOnly}
	whep = wish{"whep", tenant.RecvOnly}
)

// ICEServer is a STUN or TURN server that a client is told of.
type ICEServer struct {
	URL                  string // RFC 7064, RFC 7065
	Username, Credential string // "": none are needed
}

// WHIP serves /whip/{channel}, where publishers come in, and
// /whip/{channel}/{session}.
func (d *Door) WHIP(w http.ResponseWriter, r *http.Request) { d.serveWish(w, r, whip) }

// WHEP serves /whep/{channel}, where viewers come in, and
// /whep/{channel}/{session}.
func (d *Door) WHEP(w http.ResponseWriter, r *http.Request) { d.serveWish(w, r, whep) }

// errNoToken refuses a request that says nothing of who it is.
var errNoToken = tenant.Refuse(tenant.TokenInvalid, "send an access token as Authorization: Bearer …")

func (d *Door) serveWish(w http.ResponseWriter, r *http.Request, protocol wish) {
	out := &noted{ResponseWriter: w, status: http.StatusOK}
	defer func() { d.requested(protocol, r.Method, out.status) }()
	allowAnyOrigin(out.Header())
	var err error
	switch names := pathNames(r.URL); {
	case len(names) == 2:
		err = d.serveEndpoint(out, r, protocol, names[1])
	case len(names) == 3:
		err = d.serveSession(out, r, protocol, names[1], names[2])
	default:
		err = badHTTP(http.StatusNotFound, "want /%s/{channel}, with the channel's name as one part of the path", protocol.name)
	}
	var p problem
	elsewhere := asElsewhere(err)
	switch {
	case err == nil:
	case elsewhere != nil: // RFC 9725 §4.5
		out.Header().Set("Location", elsewhere.PublicURL+r.URL.EscapedPath())
		out.WriteHeader(http.StatusTemporaryRedirect)
	case errors.As(err, &p):
		writeProblem(out, p)
	default:
		refuseHTTP(out, tenant.AsRefusal(err))
	}
}

// serveEndpoint serves the URL of a channel. Every error is a *tenant.Refusal, a
// *tenant.Elsewhere or a problem.
func (d *Door) serveEndpoint(w http.ResponseWriter, r *http.Request, protocol wish, channel string) error {
	const allow = "GET, HEAD, OPTIONS, POST"
	switch r.Method {
	case http.MethodPost:
		return d.letIn(w, r, protocol, channel)
	case http.MethodOptions:
		w.Header().Set("Allow", allow)
		w.Header().Set("Accept-Post", typeSDP)
		w.WriteHeader(http.StatusOK)
	case http.MethodGet, http.MethodHead: // no representation (RFC 9725 §4.1)
		w.WriteHeader(http.StatusNoContent)
	default:
		return notAllowed(w, allow)
	}
	return nil
}

func notAllowed(w http.ResponseWriter, allow string) error {
	w.Header().Set("Allow", allow)
	return badHTTP(http.StatusMethodNotAllowed, "this URL knows %s", allow)
}

// letIn lets one client in, by its offer.
func (d *Door) letIn(w http.ResponseWriter, r *http.Request, protocol wish, channel string) error {
	if !d.beginRequest() {
		return errDraining
	}
	defer d.endRequest()
	v := visitor{Protocol: protocol.name, RemoteAddress: hostOf(r.RemoteAddr), UserAgent: r.UserAgent()}
	v.Role, v.Channel, v.NoNotify, v.Redirects = protocol.role, channel, true, true
	token, ok := bearer(r)
	if !ok {
		return d.refuse(errNoToken)
	}
	v.Token = token
	if err := badField(checkChannel("channel", channel)); err != nil {
		return d.refuse(err)
	}
	text, err := d.body(w, r, typeSDP)
	if err != nil {
		return d.turnAway(err)
	}
	if v.Offer, err = sfu.ParseOffer(text, protocol.role); err != nil {
		return d.turnAway(offerProblem(err))
	}
	v.Audio.Enabled, v.Video.Enabled = v.Offer.Audio(), v.Offer.Video()
	c, err := d.enter(v)
	if r := tenant.AsRefusal(err); r != nil && r.Code == tenant.BadMessage { // what it was granted leaves nothing of its offer
		return problem{r, http.StatusUnprocessableEntity}
	}
	if err != nil {
		return err
	}
	s := d.newSession(protocol, channel, c, v.Offer)
	h := w.Header()
	for _, server := range d.iceServers(c.id) {
		h.Add("Link", server.link())
	}
	h.Set("Location", s.location(r.Host))
	h.Set("ETag", s.etag())
	h.Set("Accept-Patch", typeFragment)
	h.Set("Content-Type", typeSDP)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	answer := c.connection.TakeAnswer()
	c.forgetRequest()
	go s.run()
	_, err = io.WriteString(w, answer)
	if err != nil || r.Context().Err() != nil {
		c.connection.Disconnect(tenant.EndClient) // it went away, and will never know where its session is
	}
	return nil
}

// offerProblem gives an unusable offer its status: what cannot be read is 400, what
// cannot be served 422.
func offerProblem(err error) error {
	switch {
	case errors.Is(err, sfu.ErrBadOffer):
		return badHTTP(http.StatusBadRequest, "%s", err)
	case errors.Is(err, sfu.ErrUnusableOffer):
		return badHTTP(http.StatusUnprocessableEntity, "%s", err)
	}
	return err
}

// turnAway counts a refusal that came before the policy.
func (d *Door) turnAway(err error) error {
	var p problem
	if errors.As(err, &p) {
		d.refuse(p.Refusal)
		return p
	}
	return d.refuse(err)
}

// bearer is the token of the Authorization header (RFC 6750 §2.1).
func bearer(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// body reads a request's body of a content type, within the limits of size and
// time.
func (d *Door) body(w http.ResponseWriter, r *http.Request, kind string) (string, error) {
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != kind {
		if kind == typeSDP {
			w.Header().Set("Accept-Post", kind) // RFC 9110 §15.5.16
		} else {
			w.Header().Set("Accept-Patch", kind)
		}
		return "", badHTTP(http.StatusUnsupportedMediaType, "send the body as Content-Type: %s", kind)
	}
	if r.ContentLength > sfu.MaxOffer {
		return "", tenant.Refuse(tenant.TooLarge, "the body has %d bytes: at most %d are read", r.ContentLength, sfu.MaxOffer)
	}
	// An error means that there is no deadline to set: the server's own hold.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(d.limits.Connect))
	text, err := io.ReadAll(io.LimitReader(r.Body, sfu.MaxOffer+1))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{}) // or the server takes its passing for the client's leaving
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", badHTTP(http.StatusRequestTimeout, "the body did not come within %s", d.limits.Connect)
	case err != nil:
		return "", bad("the body broke off")
	case len(text) > sfu.MaxOffer:
		return "", tenant.Refuse(tenant.TooLarge, "the body has more than %d bytes", sfu.MaxOffer)
	}
	return string(text), nil
}

// allowAnyOrigin lets pages of every origin in (CORS): access tokens, not cookies,
// say who a client is.
func allowAnyOrigin(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, *")
	h.Set("Access-Control-Expose-Headers", "Accept-Patch, Accept-Post, Allow, ETag, Link, Location, Retry-After, WWW-Authenticate")
	h.Set("Access-Control-Max-Age", "86400")
}

// link is the server as a Link header (RFC 9725 §4.6).
func (s ICEServer) link() string {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	text := "<" + s.URL + `>; rel="ice-server"`
	if s.Username != "" {
		text += `; username="` + quote.Replace(s.Username) + `"; credential="` + quote.Replace(s.Credential) + `"; credential-type="password"`
	}
	return text
}

// pathNames are the parts of a path, each unescaped: names of channels may contain
// a slash.
func pathNames(u *url.URL) []string {
	parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, part := range parts {
		name, err := url.PathUnescape(part)
		if err != nil || name == "" {
			return nil
		}
		parts[i] = name
	}
	return parts
}

// noted notes a response's status.
type noted struct {
	http.ResponseWriter
	status int
}

func (n *noted) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }
