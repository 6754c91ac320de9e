package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A program in another language uses the REST API with nothing but fetch.
func TestRESTWithFetch(t *testing.T) {
	s := newServer(t)
	a := s.tenant("lark")
	cmd := exec.Command("node", "testdata/api.mjs")
	cmd.Env = append(os.Environ(), "HIBARI="+s.url, "KEY="+a.APIKey)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "told") {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Contains(s.log.String(), "eyJ") {
		t.Error("a token is in the log")
	}
}

// kill -9 at any moment of a request with an Idempotency-Key, and the same
// request once more after the restart: it is done once.
func TestIdempotencyKeyAcrossKills(t *testing.T) {
	s := newServer(t)
	a := s.tenant("lark")
	post := func(key string) (status int, body string) {
		r, err := http.NewRequest(http.MethodPost, s.url+"/v1/webhook-endpoints", strings.NewReader(fmt.Sprintf(`{"url":"http://127.0.0.1:9/%s"}`, key)))
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		r.Header.Set("Authorization", "Bearer "+a.APIKey)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, "" // it was killed
		}
		defer w.Body.Close()
		text, err := io.ReadAll(w.Body)
		if err != nil {
			return 0, ""
		}
		return w.StatusCode, string(text)
	}
	const rounds = 5
	for i := range rounds {
		key := fmt.Sprintf("round-%d", i)
		type told struct {
			status int
			body   string
		}
		first := make(chan told, 1)
		go func() {
			status, body := post(key)
			first <- told{status, body}
		}()
		time.Sleep(time.Duration(rand.IntN(12)) * time.Millisecond) // the moment is what is tried
		s.kill()
		before := <-first
		s.start()
		var status int
		var body string
		eventually(t, "it is answered after the restart", func() bool {
			status, body = post(key)
			return status == http.StatusCreated
		})
		if before.status == http.StatusCreated && before.body != body {
			t.Errorf("round %d: told %s, then %s", i, before.body, body)
		}
		t.Logf("round %d: killed with status %d", i, before.status)
	}
	r, err := http.NewRequest(http.MethodGet, s.url+"/v1/webhook-endpoints", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.APIKey)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	var list struct{ Items []struct{ URL string } }
	if err := json.NewDecoder(w.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != rounds {
		t.Errorf("%d endpoints after %d requests: %v", len(list.Items), rounds, list.Items)
	}
}
