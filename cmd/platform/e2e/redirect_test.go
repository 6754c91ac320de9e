package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/tenant"
)

// nodeLease is how long a node that died keeps its channels at most, and what the
// others need to see it.
const nodeLease = 30*time.Second + 15*time.Second

// TestChannelOnOneNode has a publisher come to one node and a viewer to another:
// the SDK takes the viewer to the channel. When its node is killed, the channel
// may live on the other after the lease.
func TestChannelOnOneNode(t *testing.T) {
	first, second := twoNodes(t)
	a := first.tenant("Lark")
	b, site := newBrowser(t), soraPage(t)
	onFirst, onSecond := b.sora(first, a, site, "hello"), b.sora(second, a, site, "hello")
	publisher := onFirst.mustJoin("publisher", "sendonly", nil)
	var viewer string
	eventually(t, "the second node knows the new tenant", func() bool {
		viewer = onSecond.join("viewer", "recvonly", nil).ID
		return viewer != ""
	})
	onSecond.plays("viewer", 1)
	if seen := onSecond.look("viewer"); !slices.Equal(seen.Remotes, []string{publisher}) {
		t.Errorf("the viewer has %v, want %s", seen.Remotes, publisher)
	}
	if n := second.metric("hibari_redirected_total"); n != "1" {
		t.Errorf("%s were redirected", n)
	}
	// Who does not know the word is told where to go; who speaks of another kind of
	// call is told that, on every node.
	token := first.token(a, "hello", "recvonly")
	if _, err := dial2015(t, second, "downstream", "hello", token); err == nil || err.Error() != "unavailable: another node has this channel; connect to "+first.url {
		t.Errorf("a client of 2015 was told %v", err)
	}
	caller := b.ayame(second, ayamePage(t))
	if complaint := caller.call("hello", first.token(a, "hello", "sendrecv"), false); complaint != "REJECTED" || !caller.heard("disconnect", "channel_denied") {
		t.Errorf("a peer-to-peer client was told %q, %+v", complaint, caller.look().Heard)
	}
	if location := second.whepRedirect(t, "hello", token); location != first.url+"/whep/hello" {
		t.Errorf("WHEP was sent to %q", location)
	}
	for _, e := range second.events(a, "?after=0", func(e tenant.Event) bool { return e.Type == tenant.ConnectionRejected }) {
		if e.Type == tenant.ConnectionRejected && !strings.Contains(string(e.Data), `"channel_denied"`) {
			t.Errorf("the tenant was told %s of a client that was sent on", e.Data)
		}
	}

	first.kill()
	within(t, nodeLease, "the channel is let go", func() bool { return onSecond.join("publisher", "sendonly", nil).ID != "" })
	onSecond.mustJoin("viewer", "recvonly", nil)
	onSecond.plays("viewer", 1)
	for _, id := range []string{publisher, viewer} {
		status, body := second.action(a, "Sora_20151104.Disconnect", map[string]string{"connection_id": id})
		if status != http.StatusNotFound {
			t.Errorf("a connection of the dead node is still there: %d %s", status, body)
		}
	}
}

// whepRedirect knocks for WHEP and returns where a 307 leads.
func (s *server) whepRedirect(t *testing.T, channel, token string) string {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/whep/"+channel, strings.NewReader(offer.SDP))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/sdp")
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusTemporaryRedirect {
		t.Fatalf("answered %s", response.Status)
	}
	return response.Header.Get("Location")
}
