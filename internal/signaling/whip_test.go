package signaling_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// obs is an offer of the form of OBS Studio's.
var obs = func() string {
	text, err := os.ReadFile("../sfu/testdata/obs.sdp")
	if err != nil {
		panic(err)
	}
	return string(text)
}()

// reply is a response with its body read.
type reply struct {
	*http.Response
	text string
}

// ask sends a request to a path or URL of the house. Headers are "Name: value".
func (h *house) ask(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	base, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	target, err := base.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, target.String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	response, err := h.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response, string(text)}
}

const (
	good     = "Authorization: Bearer good"
	isSDP    = "Content-Type: application/sdp"
	isFrag   = "Content-Type: application/trickle-ice-sdpfrag"
	anyMatch = "If-Match: *"
)

// want checks a refusal: its status, and its problem document (RFC 9457).
func (r reply) want(t testing.TB, status int, code tenant.Code) {
	t.Helper()
	if r.StatusCode != status {
		t.Errorf("answered %d %s, want %d", r.StatusCode, r.text, status)
	}
	if r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("pages of other origins cannot read the answer")
	}
	if code == "" {
		return
	}
	var p struct {
		Type, Title, Detail string
		Status              int
		Code                tenant.Code
	}
	err := json.Unmarshal([]byte(r.text), &p)
	if err != nil || r.Header.Get("Content-Type") != "application/problem+json" ||
		p.Code != code || p.Status != status || p.Type != "about:blank" || p.Title == "" || p.Detail == "" {
		t.Errorf("the problem is %s (%s), want %s", r.text, r.Header.Get("Content-Type"), code)
	}
}

// header checks a header.
func (r reply) header(t testing.TB, name, want string) {
	t.Helper()
	if got := r.Header.Get(name); got != want {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

// wish is a WHIP or WHEP client with media.
type wish struct {
	*sfutest.Client
	house         *house
	answer        string
	location, tag string
}

// come has a client come in by an endpoint's path.
func (h *house) come(t *testing.T, path string, o sfutest.Options) *wish {
	t.Helper()
	c, err := sfutest.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	offer, err := c.Offer(false)
	if err != nil {
		t.Fatal(err)
	}
	r := h.ask(t, "POST", path, offer, good, isSDP)
	if r.StatusCode != http.StatusCreated {
		t.Fatalf("POST %s: %d %s", path, r.StatusCode, r.text)
	}
	if err := c.Take(r.text); err != nil {
		t.Fatal(err)
	}
	return &wish{c, h, r.text, r.Header.Get("Location"), r.Header.Get("ETag")}
}

// sees waits until the client was sent audio and video.
func (w *wish) sees(t *testing.T) {
	t.Helper()
	before := [2]int64{w.Stream("default", "audio").Packets, w.Stream("default", "video").Packets}
	if !sfutest.Eventually(patience, func() bool {
		return w.Stream("default", "audio").Packets >= before[0]+10 && w.Stream("default", "video").Packets >= before[1]+10
	}) {
		t.Fatal("no media came")
	}
}

// A publisher and a viewer come in over HTTP and leave; the ledger learns of both,
// and a client of another dialect sees the publisher.
func TestWHIPAndWHEP(t *testing.T) {
	h, plane := broadcast(t, signaling.Config{})
	viewer := h.come(t, "/whep/a%2Fb%20c", sfutest.Options{})
	publisher := h.come(t, "/whip/a%2Fb%20c@ten_A", sfutest.Options{Publish: &sfutest.Media{Audio: true, Video: "H264"}, OwnTypes: true, Codecs: []string{"H264"}})
	viewer.sees(t)
	usual := h.call(t, `{"type":"connect","role":"recvonly","channel_id":"a/b c","metadata":{"access_token":"good"}}`, false)
	usual.await("the publisher's media", func() bool {
		for _, n := range usual.streams {
			if n > 10 {
				return true
			}
		}
		return false
	})

	h.books.await(t, "three connections", func(b *books) bool { return len(b.connected) == 3 })
	h.books.read(func(b *books) {
		protocols := map[string]tenant.Role{}
		for _, o := range b.opened {
			protocols[o.Protocol] = o.Role
			if o.Channel != "a/b c" || o.RemoteAddress != "127.0.0.1" {
				t.Errorf("the ledger was told %+v", o)
			}
		}
		if protocols["whip"] != tenant.SendOnly || protocols["whep"] != tenant.RecvOnly {
			t.Errorf("protocols and roles %v", protocols)
		}
	})
	if s := h.door.Stats(); s.Sessions != 2 || s.OpenSockets != 1 {
		t.Errorf("figures %+v", s)
	}

	h.ask(t, "DELETE", publisher.location, "").want(t, http.StatusOK, "")
	h.ask(t, "DELETE", publisher.location, "").want(t, http.StatusNotFound, tenant.BadMessage)
	h.ask(t, "DELETE", viewer.location, "", good, `If-Match: "ignored"`).want(t, http.StatusOK, "")
	h.books.await(t, "two ends", func(b *books) bool { return len(b.closed) == 2 })
	h.books.read(func(b *books) {
		for id, e := range b.closed {
			if e.Reason != tenant.EndClient || e.Duration <= 0 {
				t.Errorf("%s ended as %+v", b.opened[id].Protocol, e)
			}
		}
	})
	if s := h.door.Stats(); s.Sessions != 0 || s.Wishes[signaling.WishRequest{Protocol: "whip", Method: "POST", Status: 201}] != 1 ||
		s.Wishes[signaling.WishRequest{Protocol: "whip", Method: "DELETE", Status: 404}] != 1 {
		t.Errorf("figures %+v", s)
	}

	// A session that ends on its own is gone, too.
	another := h.come(t, "/whip/room", sfutest.Options{Publish: &sfutest.Media{Audio: true}})
	id, _, _ := strings.Cut(another.location[strings.LastIndex(another.location, "/")+1:], ".")
	plane.Disconnect("ten_A", id, tenant.EndAPI)
	if !sfutest.Eventually(patience, func() bool { return h.door.Stats().Sessions == 0 }) {
		t.Error("the session outlives its connection")
	}
	h.ask(t, "PATCH", another.location, "a=end-of-candidates\r\n", isFrag, anyMatch).want(t, http.StatusNotFound, tenant.BadMessage)
}

// What a session's URL answers, and how ICE is restarted there.
func TestWHIPSession(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	publisher := h.come(t, "/whip/room", sfutest.Options{Publish: &sfutest.Media{Audio: true, Video: "VP8"}})
	viewer := h.come(t, "/whep/room", sfutest.Options{})
	viewer.sees(t)

	candidate := "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n"
	newest := "If-Match: " + publisher.tag
	for what, test := range map[string]struct {
		method, body string
		headers      []string
		status       int
		code         tenant.Code
	}{
		"trickle":               {"PATCH", candidate, []string{isFrag, newest}, 204, ""},
		"trickle to any":        {"PATCH", candidate, []string{isFrag, anyMatch}, 204, ""},
		"one of several tags":   {"PATCH", candidate, []string{isFrag, `If-Match: "x", ` + publisher.tag}, 204, ""},
		"no tag":                {"PATCH", candidate, []string{isFrag}, 428, tenant.BadMessage},
		"an old tag":            {"PATCH", candidate, []string{isFrag, `If-Match: "old"`}, 412, tenant.BadMessage},
		"a weak tag":            {"PATCH", candidate, []string{isFrag, "If-Match: W/" + publisher.tag}, 412, tenant.BadMessage},
		"another type":          {"PATCH", candidate, []string{isSDP, newest}, 415, tenant.BadMessage},
		"no type":               {"PATCH", candidate, []string{newest}, 415, tenant.BadMessage},
		"an empty fragment":     {"PATCH", "", []string{isFrag, newest}, 400, tenant.BadMessage},
		"no fragment":           {"PATCH", `{"candidate":""}`, []string{isFrag, newest}, 400, tenant.BadMessage},
		"half of credentials":   {"PATCH", "a=ice-ufrag:abcd\r\n", []string{isFrag, anyMatch}, 400, tenant.BadMessage},
		"two ufrags":            {"PATCH", "a=ice-ufrag:abcd\r\na=ice-ufrag:efgh\r\na=ice-pwd:0123456789012345678901\r\n", []string{isFrag, anyMatch}, 400, tenant.BadMessage},
		"credentials too short": {"PATCH", "a=ice-ufrag:a\r\na=ice-pwd:b\r\n", []string{isFrag, anyMatch}, 400, tenant.BadMessage},
		"a long fragment":       {"PATCH", strings.Repeat("a=x\r\n", sfu.MaxOffer/5+1), []string{isFrag, anyMatch}, 413, tenant.TooLarge},
		"restart, old tag":      {"PATCH", "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n", []string{isFrag, `If-Match: "old"`}, 412, tenant.BadMessage},
		"look":                  {"GET", "", nil, 204, ""},
		"glance":                {"HEAD", "", nil, 204, ""},
		"post":                  {"POST", candidate, []string{isSDP, good}, 405, tenant.BadMessage},
		"put":                   {"PUT", candidate, []string{isSDP, good}, 405, tenant.BadMessage},
	} {
		t.Run(what, func(t *testing.T) {
			r := h.ask(t, test.method, publisher.location, test.body, test.headers...)
			r.want(t, test.status, test.code)
			if r.Header.Get("ETag") != "" {
				t.Error("the answer has an ETag although the ICE session is that of before")
			}
			switch test.status {
			case 405:
				r.header(t, "Allow", "DELETE, GET, HEAD, OPTIONS, PATCH")
			case 415:
				r.header(t, "Accept-Patch", "application/trickle-ice-sdpfrag")
			}
		})
	}
	preflight := h.ask(t, "OPTIONS", publisher.location, "", "Origin: https://example.com", "Access-Control-Request-Method: PATCH")
	preflight.want(t, http.StatusOK, "")
	preflight.header(t, "Accept-Patch", "application/trickle-ice-sdpfrag")

	// Nobody gets at a session who does not know its URL.
	i := strings.LastIndexAny(publisher.location, ".")
	for _, path := range []string{publisher.location[:i], publisher.location[:i] + "." + strings.Repeat("A", 26),
		strings.Replace(publisher.location, "/whip/", "/whep/", 1), strings.Replace(publisher.location, "/room/", "/other/", 1)} {
		h.ask(t, "DELETE", path, "", good).want(t, http.StatusNotFound, tenant.BadMessage)
	}

	for _, c := range []*wish{publisher, viewer, publisher} {
		c.restart(t)
		viewer.sees(t)
	}
}

// restart moves the client to a new ICE session.
func (w *wish) restart(t *testing.T) {
	t.Helper()
	before := w.Peer().RemoteDescription().SDP
	offer, err := w.Offer(true)
	if err != nil {
		t.Fatal(err)
	}
	fragment := "a=ice-options:trickle\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" +
		"a=ice-ufrag:" + value(t, offer, "ice-ufrag") + "\r\na=ice-pwd:" + value(t, offer, "ice-pwd") + "\r\n"
	r := w.house.ask(t, "PATCH", w.location, fragment, isFrag, anyMatch)
	r.want(t, http.StatusOK, "")
	r.header(t, "Content-Type", "application/trickle-ice-sdpfrag")
	tag := r.Header.Get("ETag")
	if tag == w.tag || len(tag) < 3 || tag[0] != '"' {
		t.Errorf("the ETag is %q after %q", tag, w.tag)
	}
	for _, line := range []string{"a=ice-lite\r\n", "\r\na=candidate:", "\r\na=end-of-candidates\r\n", "\r\na=mid:0\r\n"} {
		if !strings.Contains(r.text, line) {
			t.Errorf("the fragment lacks %q:\n%s", line, r.text)
		}
	}
	// The same fragment again is no restart, whatever overtook what.
	w.house.ask(t, "PATCH", w.location, fragment, isFrag, "If-Match: "+w.tag).want(t, http.StatusPreconditionFailed, tenant.BadMessage)
	w.house.ask(t, "PATCH", w.location, fragment, isFrag, "If-Match: "+tag).want(t, http.StatusNoContent, "")
	w.tag = tag

	now := strings.ReplaceAll(before, value(t, before, "ice-ufrag"), value(t, r.text, "ice-ufrag"))
	now = strings.ReplaceAll(now, value(t, before, "ice-pwd"), value(t, r.text, "ice-pwd"))
	if err := w.Take(now); err != nil {
		t.Fatal(err)
	}
}

// value is an SDP attribute's.
func value(t testing.TB, text, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "a="+name+":")
	v, _, _ := strings.Cut(rest, "\r\n")
	if !ok || v == "" {
		t.Fatalf("no %s in\n%s", name, text)
	}
	return v
}

// What the URL of a channel answers.
func TestWHIPEndpoint(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	noCodec := strings.ReplaceAll(obs, "H264/90000", "H265/90000")
	for what, test := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code               tenant.Code
	}{
		"no token":         {"POST", "/whip/room", obs, []string{isSDP}, 401, tenant.TokenInvalid},
		"another scheme":   {"POST", "/whip/room", obs, []string{isSDP, "Authorization: Basic Z29vZDo="}, 401, tenant.TokenInvalid},
		"bad token":        {"POST", "/whip/room", obs, []string{isSDP, "Authorization: Bearer bad"}, 401, tenant.TokenInvalid},
		"expired":          {"POST", "/whip/room", obs, []string{isSDP, "authorization: bearer token_expired"}, 401, tenant.TokenExpired},
		"another channel":  {"POST", "/whip/room", obs, []string{isSDP, "Authorization: Bearer channel_denied"}, 403, tenant.ChannelDenied},
		"another role":     {"POST", "/whip/room", obs, []string{isSDP, "Authorization: Bearer role_denied"}, 403, tenant.RoleDenied},
		"banned":           {"POST", "/whip/room", obs, []string{isSDP, "Authorization: Bearer banned"}, 403, tenant.Banned},
		"broken":           {"POST", "/whip/room", obs, []string{isSDP, "Authorization: Bearer broken"}, 503, tenant.Unavailable},
		"no type":          {"POST", "/whip/room", obs, []string{good}, 415, tenant.BadMessage},
		"another type":     {"POST", "/whip/room", obs, []string{good, "Content-Type: application/json"}, 415, tenant.BadMessage},
		"no SDP":           {"POST", "/whip/room", "hello", []string{good, isSDP}, 400, tenant.BadMessage},
		"no body":          {"POST", "/whep/room", "", []string{good, isSDP}, 400, tenant.BadMessage},
		"too long":         {"POST", "/whip/room", obs + strings.Repeat("a=x\r\n", sfu.MaxOffer/5), []string{good, isSDP}, 413, tenant.TooLarge},
		"no codec":         {"POST", "/whip/room", noCodec, []string{good, isSDP}, 422, tenant.BadMessage},
		"a watching OBS":   {"POST", "/whep/room", obs, []string{good, isSDP}, 422, tenant.BadMessage},
		"a long name":      {"POST", "/whip/" + strings.Repeat("x", 300), obs, []string{good, isSDP}, 400, tenant.BadMessage},
		"no channel":       {"POST", "/whip/", obs, []string{good, isSDP}, 404, tenant.BadMessage},
		"three names":      {"POST", "/whip/a/b/c", obs, []string{good, isSDP}, 404, tenant.BadMessage},
		"look":             {"GET", "/whip/room", "", nil, 204, ""},
		"glance":           {"HEAD", "/whep/room", "", nil, 204, ""},
		"put":              {"PUT", "/whip/room", obs, []string{good, isSDP}, 405, tenant.BadMessage},
		"delete":           {"DELETE", "/whip/room", "", []string{good}, 405, tenant.BadMessage},
		"type with detail": {"POST", "/whip/room", "hello", []string{good, "Content-Type: application/sdp; charset=utf-8"}, 400, tenant.BadMessage},
	} {
		t.Run(what, func(t *testing.T) {
			r := h.ask(t, test.method, test.path, test.body, test.headers...)
			r.want(t, test.status, test.code)
			switch test.status {
			case 401:
				want := `Bearer realm="hibari", error="invalid_token"`
				if what == "no token" || what == "another scheme" {
					want = `Bearer realm="hibari"`
				}
				r.header(t, "WWW-Authenticate", want)
			case 405:
				r.header(t, "Allow", "GET, HEAD, OPTIONS, POST")
			case 415:
				r.header(t, "Accept-Post", "application/sdp")
			case 503:
				r.header(t, "Retry-After", "5")
			}
		})
	}
	h.books.read(func(b *books) {
		if len(b.opened) > 0 {
			t.Errorf("places were taken: %v", b.opened)
		}
	})
	if n := h.door.Stats().Refused; n[tenant.TokenInvalid] != 3 || n[tenant.TooLarge] != 1 {
		t.Errorf("refusals are counted as %v", n)
	}

	preflight := h.ask(t, "OPTIONS", "/whip/room", "", "Origin: https://example.com",
		"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type")
	preflight.want(t, http.StatusOK, "")
	preflight.header(t, "Accept-Post", "application/sdp")
	for name, must := range map[string]string{
		"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": "Authorization", "Access-Control-Expose-Headers": "Location",
	} {
		if !strings.Contains(preflight.Header.Get(name), must) {
			t.Errorf("%s is %q", name, preflight.Header.Get(name))
		}
	}

	r := h.ask(t, "POST", "/whip/room", obs, good, isSDP)
	r.want(t, http.StatusCreated, "")
	r.header(t, "Content-Type", "application/sdp")
	r.header(t, "Accept-Patch", "application/trickle-ice-sdpfrag")
	if l := r.Header.Get("Location"); !strings.HasPrefix(l, "/whip/room/") || strings.Contains(l, "good") || len(l) < len("/whip/room/")+50 {
		t.Errorf("Location %q", l)
	}
	if tag := r.Header.Get("ETag"); len(tag) < 20 || tag[0] != '"' {
		t.Errorf("ETag %q", tag)
	}
	if links := r.Header.Values("Link"); links != nil {
		t.Errorf("ICE servers out of nowhere: %q", links)
	}
	h.ask(t, "DELETE", r.Header.Get("Location"), "").want(t, http.StatusOK, "")
}

// A full licence is a matter of time, others are not; the ledger's word decides.
func TestWHIPRefusedByTheLedger(t *testing.T) {
	for code, want := range map[tenant.Code]struct {
		status int
		retry  string
	}{
		tenant.TenantFull: {429, "30"}, tenant.ChannelFull: {429, "30"},
		tenant.SpendCapReached: {402, ""}, tenant.TenantSuspended: {403, ""}, tenant.Unavailable: {503, "5"},
	} {
		t.Run(string(code), func(t *testing.T) {
			h, plane := broadcast(t, signaling.Config{})
			h.books.fail = func(entry string) error {
				if entry == "open" {
					return tenant.Refuse(code, "no")
				}
				return nil
			}
			r := h.ask(t, "POST", "/whip/room", obs, good, isSDP)
			r.want(t, want.status, code)
			r.header(t, "Retry-After", want.retry)
			if n := plane.Stats().Connections; n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// A client whose token names a codec that it does not offer is refused, and its
// licence place is freed.
func TestWHIPWithoutTheGrantedMedia(t *testing.T) {
	h := open(t, signaling.Config{Media: picky{newPlane(t)}})
	r := h.ask(t, "POST", "/whip/room", obs, good, isSDP)
	r.want(t, http.StatusUnprocessableEntity, tenant.BadMessage)
	if !strings.Contains(r.text, "AV1") {
		t.Errorf("the reason does not help: %s", r.text)
	}
	h.books.await(t, "the place is freed", func(b *books) bool { return len(b.closed) == 1 })
}

// picky is a media plane where publishers must send AV1.
type picky struct{ *sfu.SFU }

func (p picky) Join(ctx context.Context, r sfu.JoinRequest) (*sfu.Connection, error) {
	r.Video.Codec = "AV1"
	return p.SFU.Join(ctx, r)
}

// A client that takes its answer and never comes ends by itself, and so does one
// that goes away before the answer.
func TestWHIPClientThatNeverComes(t *testing.T) {
	plane := sfu.New(sfu.Config{Transport: listen(t), SetupTimeout: 100 * time.Millisecond})
	t.Cleanup(func() { plane.Close(tenant.EndShutdown) })
	h := open(t, signaling.Config{Media: plane})
	r := h.ask(t, "POST", "/whip/room", obs, good, isSDP)
	r.want(t, http.StatusCreated, "")
	h.books.await(t, "its end", func(b *books) bool { return len(b.closed) == 1 })
	h.books.read(func(b *books) {
		for _, e := range b.closed {
			if e.Reason != tenant.EndSetupTimeout || e.Duration != 0 {
				t.Errorf("it ended as %+v", e)
			}
		}
	})
	if !sfutest.Eventually(patience, func() bool { return h.door.Stats().Sessions == 0 }) {
		t.Error("its session is still there")
	}
	h.ask(t, "DELETE", r.Header.Get("Location"), "").want(t, http.StatusNotFound, tenant.BadMessage)
}

// A channel of another node is there, and a session has the URL of its node.
func TestWHIPToAnotherNode(t *testing.T) {
	b, _ := broadcast(t, signaling.Config{})
	own := strings.TrimSuffix(b.url, "/signaling")
	a := open(t, signaling.Config{})
	a.books.fail = func(entry string) error {
		if entry == "open" {
			return fmt.Errorf("couldn't open: %w", &tenant.Elsewhere{NodeID: "node_b", PublicURL: own})
		}
		return nil
	}
	a.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r := a.ask(t, "POST", "/whip/a%2Fb", obs, good, isSDP)
	r.want(t, http.StatusTemporaryRedirect, "")
	r.header(t, "Location", own+"/whip/a%2Fb")
	if n := a.door.Stats().Redirected; n != 1 {
		t.Errorf("%d are counted as sent on", n)
	}
	r = b.ask(t, "POST", r.Header.Get("Location"), obs, good, isSDP)
	r.want(t, http.StatusCreated, "")
	b.ask(t, "DELETE", r.Header.Get("Location"), "").want(t, http.StatusOK, "")
}

// Who comes by the node's own name is told the whole URL, others the path.
func TestWHIPLocation(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{PublicURL: &url.URL{Scheme: "https", Host: "node.example:8443"}})
	for host, want := range map[string]string{"node.example:8443": "https://node.example:8443/whip/room/", "other.example": "/whip/room/"} {
		r := h.ask(t, "POST", "/whip/room", obs, good, isSDP, "Host: "+host)
		location := r.Header.Get("Location")
		if !strings.HasPrefix(location, want) {
			t.Errorf("who came by %s is told %q", host, location)
		}
		h.ask(t, "DELETE", strings.TrimPrefix(location, "https://node.example:8443"), "").want(t, http.StatusOK, "")
	}
}

// A door that drains lets nobody in, and waits for who is in.
func TestWHIPDrains(t *testing.T) {
	h, plane := broadcast(t, signaling.Config{})
	viewer := h.come(t, "/whep/room", sfutest.Options{})
	<-viewer.Connected()
	h.door.Drain()
	r := h.ask(t, "POST", "/whip/room", obs, good, isSDP)
	r.want(t, http.StatusServiceUnavailable, tenant.Draining)
	r.header(t, "Retry-After", "1")
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- h.door.Wait(ctx) }()
	h.ask(t, "GET", viewer.location, "").want(t, http.StatusNoContent, "") // it goes on
	plane.Close(tenant.EndShutdown)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	cancel()
	h.books.read(func(b *books) {
		for _, e := range b.closed {
			if e.Reason != tenant.EndShutdown {
				t.Errorf("ended as %+v", e)
			}
		}
	})
}

// ICE servers reach the client as links.
func TestWHIPTellsICEServers(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{ICEServers: func(id string) []signaling.ICEServer {
		return []signaling.ICEServer{{URL: "stun:stun.example.net"}, {URL: "turn:turn.example.net?transport=udp", Username: `u"` + id[:0], Credential: "p"}}
	}})
	r := h.ask(t, "POST", "/whip/room", obs, good, isSDP)
	links := r.Header.Values("Link")
	if len(links) != 2 || links[0] != `<stun:stun.example.net>; rel="ice-server"` ||
		links[1] != `<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u\""; credential="p"; credential-type="password"` {
		t.Errorf("links %q", links)
	}
	h.ask(t, "DELETE", r.Header.Get("Location"), "").want(t, http.StatusOK, "")
}

// A body that does not come is not waited for for ever.
func TestWHIPSlowBody(t *testing.T) {
	h := open(t, signaling.Config{Limits: signaling.Limits{Connect: 50 * time.Millisecond}})
	conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(h.url, "/signaling"), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /whip/room HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\nContent-Length: 1000\r\n\r\nv=0\r\n", good, isSDP)
	conn.SetReadDeadline(time.Now().Add(patience))
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	reply{r, string(text)}.want(t, http.StatusRequestTimeout, tenant.BadMessage)
}

// Whoever breaks off while a place is being taken leaves nothing behind.
func TestWHIPGoneWhileItIsLetIn(t *testing.T) {
	h, plane := broadcast(t, signaling.Config{})
	opening := make(chan struct{})
	h.books.fail = func(entry string) error {
		if entry == "open" {
			close(opening)
			time.Sleep(20 * time.Millisecond) // the client goes away meanwhile
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-opening; cancel() }()
	r, err := http.NewRequestWithContext(ctx, "POST", strings.Replace(h.url, "/signaling", "/whip/room", 1), strings.NewReader(obs))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	r.Header.Set("Content-Type", "application/sdp")
	if _, err := h.http.Do(r); !errors.Is(err, context.Canceled) {
		t.Fatalf("the request ended with %v", err)
	}
	h.books.await(t, "its end", func(b *books) bool { return len(b.opened) == 1 && len(b.closed) == 1 })
	if n := plane.Stats().Connections; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// FuzzFragment: whatever a client sends as a fragment, it is read or refused, and
// what was read is what it said.
func FuzzFragment(f *testing.F) {
	f.Add("a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=end-of-candidates\r\n")
	f.Add("a=ice-ufrag:a\na=ice-pwd:b")
	f.Add("v=0\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		ufrag, pwd, err := signaling.ParseFragment(text)
		var refusal *tenant.Refusal
		if err != nil {
			if !errors.As(err, &refusal) || refusal.Code != tenant.BadMessage || ufrag+pwd != "" {
				t.Fatalf("%q, %q and %v", ufrag, pwd, err)
			}
			return
		}
		if (ufrag == "") != (pwd == "") || !strings.Contains(text, ufrag) || strings.ContainsAny(ufrag+pwd, "\n") {
			t.Fatalf("read %q and %q", ufrag, pwd)
		}
	})
}

// A token's max_duration ends sessions of WHIP and WHEP, too: their URLs are of
// nothing then.
func TestWHIPLifetime(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{Verifier: keys{tenant.Claim{MaxDuration: 300 * time.Millisecond}}})
	for path, o := range map[string]sfutest.Options{"/whip/room": {Publish: &sfutest.Media{Audio: true}}, "/whep/room": {}} {
		session := h.come(t, path, o)
		if !sfutest.Eventually(patience, func() bool { return h.ask(t, "GET", session.location, "").StatusCode == http.StatusNotFound }) {
			t.Errorf("%s: the session outlives its token's max_duration", path)
		}
	}
	h.books.await(t, "both ends", func(b *books) bool { return len(b.closed) == 2 })
	h.books.read(func(b *books) {
		for id, e := range b.closed {
			if e.Reason != tenant.EndLifetime || e.Duration < 300*time.Millisecond {
				t.Errorf("%s ended as %+v", b.opened[id].Protocol, e)
			}
		}
	})
}
