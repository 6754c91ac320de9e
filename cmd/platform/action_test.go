package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// brokenBody ends in the middle, as of a client whose network went.
type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// A call that cannot be understood is told why, before anything is looked at.
func TestActionsThatMakeNoSense(t *testing.T) {
	p := &platform{log: slog.New(slog.DiscardHandler)}
	const list = "Sora_20151104.ListConnections"
	for name, one := range map[string]struct {
		target string
		body   io.Reader
		status int
		code   tenant.Code
	}{
		"no target":      {"", strings.NewReader("{}"), 400, tenant.BadMessage},
		"unknown target": {"Sora_20151104.Fly", strings.NewReader("{}"), 400, tenant.BadMessage},
		"no JSON":        {list, strings.NewReader("channelId=hello"), 400, tenant.BadMessage},
		"no object":      {list, strings.NewReader("[]"), 400, tenant.BadMessage},
		"no string":      {list, strings.NewReader(`{"channelId":1}`), 400, tenant.BadMessage},
		"too large":      {list, strings.NewReader(strings.Repeat(" ", actionLimit+1)), 413, tenant.TooLarge},
		"cut off":        {list, brokenBody{}, 400, tenant.BadMessage},
		"no connection":  {"Sora_20151104.Disconnect", strings.NewReader("{}"), 400, tenant.BadMessage},
		"no client":      {"Sora_20151104.DisconnectClient", strings.NewReader(`{"channel_id":"a"}`), 400, tenant.BadMessage},
		"no channel":     {"Sora_20151104.DisconnectChannel", http.NoBody, 400, tenant.BadMessage},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", one.body)
		r.Header.Set("x-sora-target", one.target)
		w := httptest.NewRecorder()
		p.action(w, r, tenant.OperatorScope("ten_test"))
		var doc api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != one.status || doc.Code != one.code || doc.Detail == "" {
			t.Errorf("%s: %d %+v (%v)", name, w.Code, doc, err)
		}
	}
}

func TestEveryActionIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/actions.md")
	if err != nil {
		t.Fatal(err)
	}
	for target := range actions {
		_, name, _ := strings.Cut(target, ".")
		if !strings.Contains(string(page), target) && !strings.Contains(string(page), "`."+name+"`") {
			t.Errorf("docs/actions.md does not mention %s", target)
		}
	}
}
