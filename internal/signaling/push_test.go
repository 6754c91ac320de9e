package signaling_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// What the tenant's server pushes comes over the WebSocket or the DataChannel push, to
// those who are meant.
func TestPush(t *testing.T) {
	t.Parallel()
	h, plane := broadcast(t, signaling.Config{})
	viewer := h.call(t, join("recvonly", `,"client_id":"v"`), false)
	speaker := h.call(t, unsaid("sendrecv", `,"client_id":"s"`), false) // over DataChannels
	old := h.call(t, `{"type":"connect","role":"downstream","channelId":"room","accessToken":"good"}`, false)
	speaker.switched(false)
	viewer.connected()
	data := json.RawMessage(`{"b":1,"a":[true,null,"雲雀"]}`)
	for i, test := range []struct {
		which tenant.Choice
		want  sfu.Pushed
		to    []*caller
	}{
		{tenant.Choice{Channel: "room"}, sfu.Pushed{Sent: 2, Unreachable: 1}, []*caller{viewer, speaker}},
		{tenant.Choice{Channel: "room", Role: tenant.SendRecv}, sfu.Pushed{Sent: 1}, []*caller{speaker}},
		{tenant.Choice{Channel: "room", ClientID: "v"}, sfu.Pushed{Sent: 1}, []*caller{viewer}},
	} {
		got, err := plane.Push("ten_A", test.which, data)
		if err != nil || got != test.want {
			t.Errorf("%+v: %+v, %v", test.which, got, err)
		}
		var want any
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		for _, to := range test.to {
			n := 0
			if i > 0 {
				n = 1
			}
			if heard := to.message(n, map[string]any{"type": "push"}); !reflect.DeepEqual(heard["data"], want) {
				t.Errorf("heard %v", heard)
			}
		}
	}
	speaker.message(1, map[string]any{"type": "push", "via": "push"})
	conn := plane.Find("ten_A", old.id())
	if got, err := conn.Push(data); err != nil || got != (sfu.Pushed{Unreachable: 1}) {
		t.Errorf("to a client of 2015: %+v, %v", got, err)
	}
	for _, test := range []struct {
		tenant tenant.ID
		which  tenant.Choice
		want   error
	}{
		{"ten_A", tenant.Choice{Channel: "nowhere"}, sfu.ErrNoChannel},
		{"ten_B", tenant.Choice{Channel: "room"}, sfu.ErrNoChannel},
		{"ten_A", tenant.Choice{Channel: "room", ClientID: "nobody"}, sfu.ErrNobody},
	} {
		if _, err := plane.Push(test.tenant, test.which, data); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
	if plane.Find("ten_B", old.id()) != nil {
		t.Error("another tenant finds it")
	}
}

// A server that pushes in a loop is refused, and nobody is ended for it.
func TestPushesAreBounded(t *testing.T) {
	t.Parallel()
	h, plane := broadcast(t, signaling.Config{})
	viewer := h.call(t, join("recvonly", ""), false)
	viewer.connected()
	sent, refused := 0, 0
	for range 300 {
		_, err := plane.Push("ten_A", tenant.Choice{Channel: "room"}, []byte(`"x"`))
		switch {
		case err == nil:
			sent++
		case errors.Is(err, sfu.ErrTooOften):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused == 0 || sent < 60 || plane.Stats().Pushes != int64(refused) {
		t.Errorf("%d went, %d were refused", sent, refused)
	}
	viewer.message(sent-1, map[string]any{"type": "push"})
	if n := len(plane.Connections()); n != 1 {
		t.Errorf("%d are there", n)
	}
}

// Why a connection was ended over the API is what its end tells, for all that were
// meant and no other.
func TestEndWithAReason(t *testing.T) {
	t.Parallel()
	h, _ := broadcast(t, signaling.Config{})
	a, b := h.call(t, join("recvonly", `,"client_id":"a"`), false), h.call(t, join("recvonly", `,"client_id":"b"`), false)
	a.connected()
	b.connected()
	for _, which := range []tenant.Choice{
		{Channel: "room", ClientID: "a"}, {Channel: "room", SessionID: "SESSION-room", Role: tenant.RecvOnly, ClientID: "a"}, {ClientID: "a"},
	} {
		if ids := h.door.Here("ten_A", which); !reflect.DeepEqual(ids, []string{a.id()}) {
			t.Errorf("%+v: %v", which, ids)
		}
	}
	for _, which := range []tenant.Choice{{Channel: "hall"}, {Role: tenant.SendOnly}, {SessionID: "other"}} {
		if ids := h.door.Here("ten_A", which); len(ids) != 0 {
			t.Errorf("%+v: %v", which, ids)
		}
	}
	why := tenant.Parting{Reason: tenant.EndAPI, Said: json.RawMessage(`{"rule":7}`)}
	if h.door.End("ten_B", a.id(), why) || h.door.End("ten_A", "nobody", why) || len(h.door.Here("ten_B", tenant.Choice{})) != 0 {
		t.Error("another tenant's connection, or none, was ended")
	}
	if !h.door.End("ten_A", a.id(), why) {
		t.Error("it is not here")
	}
	h.door.End("ten_A", a.id(), tenant.Parting{Reason: tenant.EndAPI, Said: json.RawMessage(`"later"`)})
	if !h.door.End("ten_A", b.id(), tenant.Parting{Reason: tenant.EndConsole, Said: json.RawMessage(`"no API"`)}) {
		t.Error("it is not here")
	}
	h.books.await(t, "the ends", func(books *books) bool {
		return books.closed[a.id()].Reason == tenant.EndAPI && string(books.closed[a.id()].Said) == `{"rule":7}` &&
			books.closed[b.id()].Reason == tenant.EndConsole && books.closed[b.id()].Said == nil
	})
}
