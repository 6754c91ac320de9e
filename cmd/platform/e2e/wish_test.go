package e2e

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// wishPage serves the WHIP and WHEP clients from npm and the page that drives
// them, from another origin than the platform.
func wishPage(t *testing.T) string {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "wish.js")
	out, err := exec.Command("testdata/node_modules/.bin/esbuild", "testdata/wish.js",
		"--bundle", "--format=esm", "--log-level=warning", "--outfile="+bundle).CombinedOutput()
	if err != nil {
		t.Fatalf("couldn't bundle the clients: %v\n%s", err, out)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/wish.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, bundle) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/wish.html") })
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	return site.URL
}

// wishTab is a page with the clients, for one tenant.
type wishTab struct {
	*tab
	server  *server
	account account
}

// wishSeen is what the page's look returns.
type wishSeen struct {
	State, Codec, Pair  string // Pair: the ufrag of the candidate in use
	Frames, Audio, Sent int
	Layers, Width       int
}

// publish has a library publish to a channel; options are the page's.
func (p wishTab) publish(name, library, channel string, options map[string]any) {
	p.t.Helper()
	url := p.server.url + "/whip/" + channel
	if failure := eval[string](p.tab, "publish(%s, %s, %s, %s, %s)", name, library, url, p.server.token(p.account, channel, "sendonly"), options); failure != "" {
		p.t.Fatalf("%s can't publish: %s", library, failure)
	}
	eventually(p.t, library+" sends", func() bool { return p.look(name).Sent > 10 })
}

// watch has a library watch a channel.
func (p wishTab) watch(name, library, channel string) {
	p.t.Helper()
	url := p.server.url + "/whep/" + channel
	if failure := eval[string](p.tab, "watch(%s, %s, %s, %s)", name, library, url, p.server.token(p.account, channel, "recvonly")); failure != "" {
		p.t.Fatalf("%s can't watch: %s", library, failure)
	}
}

func (p wishTab) look(name string) wishSeen { return eval[wishSeen](p.tab, "look(%s)", name) }

// plays waits until a viewer has shown more frames, and heard more, than it has
// now.
func (p wishTab) plays(name string) {
	p.t.Helper()
	before := p.look(name)
	eventually(p.t, name+" plays", func() bool {
		s := p.look(name)
		return s.Frames >= before.Frames+20 && s.Audio >= before.Audio+20
	})
}

// Two libraries for each protocol and a page without any publish to and watch each
// other and sora-js-sdk.
func TestWHIPAndWHEPClients(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	b := newBrowser(t)
	p := wishTab{b.open(wishPage(t)), s, a}
	p.until("the clients are loaded", "window.ready === true")
	site := soraPage(t)

	// Before there is anything to see.
	p.watch("early", "whip-whep", "one")
	p.publish("first", "whip-whep", "one", nil)
	p.watch("player", "eyevinn", "one")
	p.watch("page", "plain", "one")
	sora := b.sora(s, a, site, "one")
	sora.mustJoin("viewer", "recvonly", nil)
	for _, name := range []string{"early", "player", "page"} {
		p.plays(name)
	}
	sora.plays("viewer", 1)
	if got := p.look("player").Codec; got != "video/VP8" {
		t.Errorf("the player decodes %s, want the publisher's first choice", got)
	}

	// A new ICE session on either side, and the picture goes on.
	for _, name := range []string{"first", "early"} {
		before := p.look(name).Pair
		eval[any](p.tab, "restart(%s)", name)
		eventually(t, name+" is connected by new credentials", func() bool {
			now := p.look(name)
			return now.State == "connected" && now.Pair != before
		})
		p.plays("early")
		p.plays("page")
	}

	// Who publishes next is shown when the first has left, without anything to do.
	p.publish("second", "eyevinn", "one", nil)
	eval[any](p.tab, "leave(%s)", "first")
	eventually(t, "the ledger has the first no longer", func() bool { return len(s.connections(a)) == 5 })
	for _, name := range []string{"early", "player", "page"} {
		p.plays(name)
	}

	// And what the SDK publishes.
	sora.mustJoin("publisher", "sendonly", map[string]any{"videoCodecType": "H264"})
	eval[any](p.tab, "leave(%s)", "second")
	for _, name := range []string{"early", "player", "page"} {
		eventually(t, name+" decodes H.264", func() bool { return p.look(name).Codec == "video/H264" })
		p.plays(name)
		eval[any](p.tab, "leave(%s)", name)
	}
	eventually(t, "only the SDK's connections are left", func() bool { return len(s.connections(a)) == 2 })
}

// A page that chooses its codec is watched in it, and one that is refused is told
// why.
func TestWHIPCodecsAndRefusals(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark", "--licence", "100")
	p := wishTab{newBrowser(t).open(wishPage(t)), s, a}
	p.until("the clients are loaded", "window.ready === true")
	for _, codec := range []string{"H264", "AV1"} {
		p.publish("publisher"+codec, "plain", codec, map[string]any{"codec": "video/" + codec})
		p.watch("viewer"+codec, "plain", codec)
		p.plays("viewer" + codec)
		if got := p.look("viewer" + codec).Codec; got != "video/"+codec {
			t.Errorf("the viewer decodes %s, want %s", got, codec)
		}
		eval[any](p.tab, "leave(%s)", "publisher"+codec)
		eval[any](p.tab, "leave(%s)", "viewer"+codec)
	}
	// Two layers, the better one first: a viewer gets that, as everybody does who
	// does not ask for less.
	p.publish("layers", "plain", "layers", map[string]any{"layers": []string{"high", "low"}})
	p.watch("best", "plain", "layers")
	eventually(t, "both layers are sent, and the better one is shown", func() bool {
		return p.look("layers").Layers == 2 && p.look("best").Width == 640
	})

	url := s.url + "/whip/room"
	for want, token := range map[string]string{
		"401 token_invalid":  "nonsense",
		"403 channel_denied": s.token(a, "other", "sendonly"),
		"403 role_denied":    s.token(a, "room", "recvonly"),
	} {
		got := eval[string](p.tab, "publish(%s, %s, %s, %s)", "refused", "plain", url, token)
		if !strings.Contains(got, want) {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}
