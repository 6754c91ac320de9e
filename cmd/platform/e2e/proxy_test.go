package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestTrustedProxy has a member mistype a password behind a proxy that the settings
// name: the audit log has the member's address and the request's id.
func TestTrustedProxy(t *testing.T) {
	s := newServer(t, "HIBARI_TRUSTED_PROXIES=127.0.0.0/8")
	a := s.tenant("Lark")
	ask := func(method, path, body string, header ...string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	wrong := ask("POST", "/login", url.Values{"email": {a.Email}, "password": {"wrong"}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded", "X-Forwarded-For", "198.51.100.1, 203.0.113.9")
	var log struct {
		Items []struct {
			Address   string `json:"address"`
			RequestID string `json:"request_id"`
		} `json:"items"`
	}
	answer := ask("GET", "/v1/audit-log?action=login.failed", "", "Authorization", "Bearer "+a.APIKey)
	if err := json.NewDecoder(answer.Body).Decode(&log); err != nil || len(log.Items) != 1 {
		t.Fatalf("%s: %+v, %v", answer.Status, log, err)
	}
	if e, id := log.Items[0], wrong.Header.Get("X-Request-Id"); e.Address != "203.0.113.9" || e.RequestID != id || id == "" {
		t.Errorf("the log has %+v of request %q", e, id)
	}
}
