package sfu_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// Connections of one bundle are told nothing of each other and shown nothing of
// each other; one that wants no notifications is told of its own coming only.
// All others are told of everything, in order, with the metadata of that moment.
func TestWhoIsToldOfWhom(t *testing.T) {
	s := newSFU(t)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 5).Draw(rt, "members")
		requests := make([]sfu.JoinRequest, n)
		for i := range requests {
			r := request(rapid.SampledFrom([]tenant.Role{tenant.SendOnly, tenant.RecvOnly, tenant.SendRecv}).Draw(rt, "role"))
			r.BundleID = rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "bundle")
			r.NoNotify = rapid.IntRange(0, 3).Draw(rt, "quiet") == 0
			r.Metadata.Authn = json.RawMessage(fmt.Sprintf(`"authn %d"`, i))
			requests[i] = r
		}
		f, err := s.NewFed(requests...)
		if err != nil {
			rt.Fatal(err)
		}
		defer f.Close()
		up, gone, ext := make([]bool, n), make([]bool, n), make([]string, n)
		for i := range n {
			f.Down(i)
		}
		mates := func(i, j int) bool {
			return i != j && requests[i].BundleID != "" && requests[i].BundleID == requests[j].BundleID
		}
		hears := func(i, of int) bool { return up[i] && !requests[i].NoNotify && !mates(i, of) }
		merged := func(i int) string {
			if ext[i] != "" {
				return ext[i]
			}
			return string(requests[i].Metadata.Authn)
		}
		// told checks that each member was told want, and nothing else.
		told := func(step string, want func(i int) string) {
			for i := range n {
				var got []string
				for _, s := range f.Take(i) {
					switch s.Kind {
					case sfu.SignalNotify:
						text := fmt.Sprintf("%s %s %d", s.Notify.EventType, s.Notify.Subject.Metadata.Merged(), s.Notify.Counts.Connections)
						for _, o := range s.Notify.Others {
							text += fmt.Sprintf(" %s", o.Metadata.Merged())
						}
						got = append(got, text)
					case sfu.SignalPush:
						got = append(got, "push "+string(s.Data))
					}
				}
				if text := strings.Join(got, "; "); text != want(i) {
					rt.Fatalf("%s: member %d of %+v was told %q, want %q", step, i, requests, text, want(i))
				}
			}
		}
		count := func() (c int) {
			for i := range n {
				if up[i] {
					c++
				}
			}
			return c
		}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			i := rapid.IntRange(0, n-1).Draw(rt, "who")
			if gone[i] {
				continue
			}
			switch rapid.SampledFrom([]string{"up", "put", "remove"}).Draw(rt, "what") {
			case "up":
				if up[i] {
					continue
				}
				up[i] = true
				f.GoUp(i)
				told("came", func(j int) string {
					text := fmt.Sprintf("connection.created %s %d", merged(i), count())
					switch {
					case j == i:
						for k := range n {
							if k != i && up[k] && hears(i, k) {
								text += " " + merged(k)
							}
						}
						return text
					case hears(j, i):
						return text
					}
					return ""
				})
			case "put":
				ext[i] = fmt.Sprintf(`{"n":%d}`, rapid.IntRange(0, 9).Draw(rt, "value"))
				if _, err := f.Put(i, "", json.RawMessage(ext[i]), []byte(`"changed"`)); err != nil {
					rt.Fatal(err)
				}
				told("put", func(j int) string {
					if j == i || hears(j, i) {
						return `push "changed"`
					}
					return ""
				})
			case "remove":
				was := up[i]
				up[i], gone[i] = false, true
				f.Remove(i, tenant.EndAPI)
				told("left", func(j int) string {
					if was && hears(j, i) {
						return fmt.Sprintf("connection.destroyed %s %d", merged(i), count())
					}
					return ""
				})
			}
		}
		for i := range n {
			for j := range n {
				want := i != j && requests[i].Role.Receives() && requests[j].Role.Sends() && !mates(i, j) && !gone[j]
				if got := f.Shows(i, j); got != want {
					rt.Fatalf("member %d is shown %d: %v, want %v", i, j, got, want)
				}
			}
		}
	})
}

// Who wants no notifications gets the layers it asks for all the same, untold.
func TestLayersSwitchUntold(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, threeLayers, withSimulcast(sfu.Simulcast{}))
	v := watch(t, s, threeLayers, sfutest.Options{}, func(r *sfu.JoinRequest) { r.NoNotify = true })
	v.gets(t, p, 2)
	if err := v.Connection.RequestRID("", "r0"); err != nil {
		t.Fatal(err)
	}
	v.gets(t, p, 0)
	if n := v.Signals(sfu.SignalNotify); len(n) != 1 || n[0].Notify.EventType != "connection.created" {
		t.Errorf("told %d things", len(n))
	}
}

func TestMetadataKinds(t *testing.T) {
	for _, test := range []struct {
		metadata sfu.Metadata
		want     string
	}{
		{sfu.Metadata{}, ""},
		{sfu.Metadata{Authn: json.RawMessage("1")}, "1"},
		{sfu.Metadata{Authn: json.RawMessage("1"), Authz: json.RawMessage("2")}, "2"},
		{sfu.Metadata{Authn: json.RawMessage("1"), Authz: json.RawMessage("2"), Ext: json.RawMessage("3")}, "3"},
	} {
		if got := string(test.metadata.Merged()); got != test.want {
			t.Errorf("%s merged is %s, want %s", test.metadata, got, test.want)
		}
	}
}

func TestChangesOfMetadata(t *testing.T) {
	s := newSFU(t)
	r := request(tenant.RecvOnly)
	r.Metadata.Authn = json.RawMessage(`{"a":1}`)
	f, err := s.NewFed(r)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func(key, value, want string, wantErr error) {
		t.Helper()
		got, err := f.Put(0, key, json.RawMessage(value), nil)
		if string(got) != want || !errors.Is(err, wantErr) {
			t.Errorf("put %s=%.20s: %.40s, %v; want %s, %v", key, value, got, err, want, wantErr)
		}
	}
	put("b", "2", `{"b":2}`, nil) // what a client declared of itself stays as it is
	put("c", `{"d":[null]}`, `{"b":2,"c":{"d":[null]}}`, nil)
	put("", "7", "7", nil)
	put("b", "2", "", sfu.ErrMetadataShape)
	put("", "null", "null", nil)
	put("b", "2", "", sfu.ErrMetadataShape)
	put("", `"`+strings.Repeat("x", sfu.MaxMetadataBytes)+`"`, "", sfu.ErrMetadataLarge)
	if m := f.Info(0).Metadata; string(m.Ext) != "null" || string(m.Authn) != `{"a":1}` {
		t.Errorf("it is now %s", m)
	}

	// Too many at once are refused, some later they are not.
	i := 0
	for ; ; i++ {
		if _, err = f.Put(0, "", json.RawMessage("1"), nil); err != nil || i > 1000 {
			break
		}
	}
	if !errors.Is(err, sfu.ErrTooOften) || i < 10 {
		t.Errorf("after %d more: %v", i, err)
	}
	if s.Stats().Changes != 1 {
		t.Errorf("%d refused changes are counted", s.Stats().Changes)
	}
	f.Pass(time.Second)
	put("", "2", "2", nil)
}

// However many change at once: a door that reads now and then keeps up.
func TestChangesOfACrowd(t *testing.T) {
	s := newSFU(t)
	requests := make([]sfu.JoinRequest, 40)
	for i := range requests {
		requests[i] = request(tenant.RecvOnly)
	}
	f, err := s.NewFed(requests...)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 20 {
		for i := range requests {
			_, err = f.Put(i, "", json.RawMessage("1"), []byte("1"))
		}
	}
	if !errors.Is(err, sfu.ErrTooOften) {
		t.Errorf("the last of 800 changes: %v", err)
	}
	for i := range requests {
		if n := len(f.Take(i)); n == 0 || n > sfu.SignalLimit/2 {
			t.Fatalf("member %d has %d signals to read", i, n)
		}
	}
}
