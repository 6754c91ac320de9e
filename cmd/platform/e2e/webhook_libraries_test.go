package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The official Standard Webhooks libraries for Node and Go, as docs/examples uses
// them, take what is posted to them: also while two secrets sign, and with either;
// and refuse what was changed on the way.
func TestOfficialWebhookLibraries(t *testing.T) {
	s := newServer(t)
	a := s.tenant("lark")
	dir := t.TempDir()
	examples, modules := "../../../docs/examples/", "testdata/node_modules"
	source, err := os.ReadFile(examples + "webhook.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "webhook.mjs"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	if modules, err = filepath.Abs(modules); err == nil {
		err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
	}
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "webhook-go")
	if out, err := exec.Command("go", "build", "-o", binary, examples+"webhook-go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, command := range map[string][]string{"npm": {"node", filepath.Join(dir, "webhook.mjs")}, "go": {binary}} {
		t.Run(name, func(t *testing.T) {
			var made struct{ ID, Secret string }
			s.rest(t, a, "POST", "/v1/webhook-endpoints", map[string]any{"url": "http://127.0.0.1:9/"}, &made)
			endpoint := "/v1/webhook-endpoints/" + made.ID
			old := verifier(t, made.Secret, command)
			s.rest(t, a, "PATCH", endpoint, map[string]any{"url": old}, nil)
			sent := s.delivered(t, a, endpoint, 204)

			var rotated struct{ Secret string }
			s.rest(t, a, "POST", endpoint+"/rotate-secret", map[string]any{"overlap_seconds": 86400}, &rotated)
			s.delivered(t, a, endpoint, 204)
			fresh := verifier(t, rotated.Secret, command)
			s.rest(t, a, "PATCH", endpoint, map[string]any{"url": fresh}, nil)
			both := s.delivered(t, a, endpoint, 204)
			if signatures := strings.Fields(both.head["Webhook-Signature"]); len(signatures) != 2 {
				t.Errorf("%d signatures while two secrets sign", len(signatures))
			}

			s.rest(t, a, "DELETE", endpoint+"/previous-secret", nil, nil)
			s.delivered(t, a, endpoint, 204)
			s.rest(t, a, "PATCH", endpoint, map[string]any{"url": old}, nil)
			s.delivered(t, a, endpoint, 401)

			if status := sent.post(t, old, nil, ""); status != 204 {
				t.Errorf("what was sent answers %d when it is sent again", status)
			}
			if status := both.post(t, fresh, nil, ""); status != 204 {
				t.Errorf("what two secrets signed answers %d when it is sent again", status)
			}
			if status := sent.post(t, old, nil, " "); status != 401 {
				t.Errorf("another body answers %d", status)
			}
			if status := sent.post(t, old, map[string]string{"Webhook-Timestamp": "1700000000"}, ""); status != 401 {
				t.Errorf("another time answers %d", status)
			}
			if status := sent.post(t, old, map[string]string{"Webhook-Id": "evt_other"}, ""); status != 401 {
				t.Errorf("another id answers %d", status)
			}
		})
	}
}

// verifier starts a receiver that has the secret, and returns its URL.
func verifier(t *testing.T, secret string, command []string) (url string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "PORT=0", "HIBARI_WEBHOOK_SECRET="+secret)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	port, found := strings.CutPrefix(strings.TrimSpace(first), "listening on port ")
	if err != nil || !found {
		t.Fatalf("the receiver said %q, %v", first, err)
	}
	go io.Copy(io.Discard, lines)
	return "http://127.0.0.1:" + port + "/"
}

// wire is a request as the log of deliveries has it.
type wire struct {
	head map[string]string
	body []byte
}

// delivered sends a test event to an endpoint and waits for its answer.
func (s *server) delivered(t *testing.T, a account, endpoint string, status int) wire {
	t.Helper()
	var d struct {
		ID    string
		Event json.RawMessage
		Log   []struct {
			Status   int
			Exchange struct {
				RequestHeaders map[string]string `json:"request_headers"`
			}
		}
	}
	s.rest(t, a, "POST", endpoint+"/test", map[string]any{"type": "connection.created"}, &d)
	eventually(t, "the delivery has been tried", func() bool {
		s.rest(t, a, "GET", "/v1/deliveries/"+d.ID, nil, &d)
		return len(d.Log) > 0
	})
	if d.Log[0].Status != status {
		t.Errorf("answered %d, want %d", d.Log[0].Status, status)
	}
	return wire{d.Log[0].Exchange.RequestHeaders, bytes.TrimSpace(d.Event)}
}

// post sends the request once more, with other fields of its header and with more
// at the end of its body.
func (w wire) post(t *testing.T, url string, fields map[string]string, more string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(append(bytes.Clone(w.body), more...)))
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range []map[string]string{w.head, fields} {
		for name, value := range head {
			r.Header.Set(name, value)
		}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// rest asks the REST API; the answer is a success.
func (s *server) rest(t *testing.T, a account, method, path string, body, into any) {
	t.Helper()
	var text io.Reader
	if body != nil {
		document, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.NewReader(document)
	}
	r, err := http.NewRequest(method, s.url+path, text)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.APIKey)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d %s %v", method, path, answer.StatusCode, said, err)
	}
	if into != nil {
		if err := json.Unmarshal(said, into); err != nil {
			t.Fatal(err)
		}
	}
}
