package transport_test

import (
	"crypto/rand"
	"errors"
	"testing"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// try sends a check with these credentials and reports whether it was answered.
func (c *client) try(e *transport.Endpoint, name, pwd string) bool {
	c.t.Helper()
	before := e.Stats()
	refused := func(s transport.Stats) int64 {
		return s.Drops[transport.DropUnknownUser] + s.Drops[transport.DropBadPassword]
	}
	c.send(c.request(name, pwd, true).Raw)
	eventually(c.t, "the check is worked off", func() bool {
		now := e.Stats()
		return now.Checks > before.Checks || refused(now) > refused(before)
	})
	return e.Stats().Checks > before.Checks
}

// The old session's checks are good until the first one of the new session; a
// restart that was overtaken by another is void at once.
func TestRestartCredentials(t *testing.T) {
	e := listen(t, transport.Config{})
	p := e.NewPeer(newOwner(t))
	c := newClient(t, e, "127.0.0.1")
	if _, _, err := p.Restart("client", rand.Text()); !errors.Is(err, transport.ErrNotUp) {
		t.Errorf("restart before the answer: %v", err)
	}
	if err := p.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
		t.Fatal(err)
	}
	first := [2]string{p.Ufrag() + ":" + c.ufrag, p.Pwd()}
	session := func() [2]string {
		ufrag := "new" + rand.Text()[:6]
		local, pwd, err := p.Restart(ufrag, rand.Text())
		if err != nil {
			t.Fatal(err)
		}
		if p.Ufrag() != local || p.Pwd() != pwd {
			t.Error("the newest credentials are not told")
		}
		return [2]string{local + ":" + ufrag, pwd}
	}
	try := func(what string, s [2]string, want bool) {
		t.Helper()
		if got := c.try(e, s[0], s[1]); got != want {
			t.Errorf("%s: answered %t, want %t", what, got, want)
		}
	}
	try("the first session", first, true)
	overtaken := session()
	second := session()
	try("the one overtaken", overtaken, false)
	try("the first, beside the second", first, true)
	try("the second with the first's password", [2]string{second[0], first[1]}, false)
	try("the second of another client", [2]string{p.Ufrag() + ":" + c.ufrag, second[1]}, false)
	try("the second", second, true)
	try("the first, afterwards", first, false)
	third := session()
	try("the third", third, true)
	try("the second, afterwards", second, false)
	if n := e.Stats().Peers; n != 1 {
		t.Errorf("%d peers, want 1", n)
	}
	for _, bad := range [][2]string{{"abc", rand.Text()}, {"abcd", "short"}} {
		if _, _, err := p.Restart(bad[0], bad[1]); !errors.Is(err, transport.ErrBadCredentials) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	fourth := session()
	p.Close()
	try("after the end", third, false)
	try("the restart under way, after the end", fourth, false)
	if _, _, err := p.Restart("late", rand.Text()); !errors.Is(err, transport.ErrNotUp) {
		t.Errorf("restart after the end: %v", err)
	}
	if n := e.Stats().Peers; n != 0 {
		t.Errorf("%d peers, want none", n)
	}
}
