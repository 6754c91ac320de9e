package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// A request that panics is answered and logged, without what its path may hold: the
// path of a WHIP session is its key.
func TestPanicsKeepTheKeysOfSessions(t *testing.T) {
	var log bytes.Buffer
	p := &platform{log: slog.New(slog.NewTextHandler(&log, nil))}
	r := chi.NewRouter()
	r.Use(p.recoverPanics)
	r.HandleFunc("/whip/*", func(http.ResponseWriter, *http.Request) { panic("broken") })
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodDelete, "/whip/room/secret", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("answered %d", w.Code)
	}
	if text := log.String(); !strings.Contains(text, "/whip/*") || !strings.Contains(text, "broken") || strings.Contains(text, "secret") {
		t.Errorf("logged %s", text)
	}
}
