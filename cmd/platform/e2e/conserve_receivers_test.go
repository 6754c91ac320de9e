package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// unwanted is the client id that the doorman refuses.
const unwanted = "unwanted"

// newDoorman is an auth webhook.
func newDoorman(t *testing.T) string {
	doorman := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var question struct {
			ClientID string `json:"client_id"`
		}
		if err != nil || json.Unmarshal(body, &question) != nil || question.ClientID == unwanted {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(doorman.Close)
	return doorman.URL
}

// badReceiver is a tenant's server that fails in every way, until it is healed.
type badReceiver struct {
	*httptest.Server
	c    *conservation
	well chan struct{} // closed when it is healed

	mu sync.Mutex
	// Guarded by mu
	first []tenant.Event // what arrived, in the order of its first arrival
	seen  map[string]int // by webhook-id: how often
}

// newBadReceiver is one that is well from the start unless it is bad.
func newBadReceiver(c *conservation, bad bool) *badReceiver {
	r := &badReceiver{c: c, well: make(chan struct{}), seen: map[string]int{}}
	if !bad {
		close(r.well)
	}
	r.Server = httptest.NewServer(http.HandlerFunc(r.receive))
	c.t.Cleanup(r.Close)
	return r
}

func (r *badReceiver) heal() {
	select {
	case <-r.well:
	default:
		close(r.well)
	}
}

// receive notes an event, and then answers as chance has it.
func (r *badReceiver) receive(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // the sender died while it sent
	}
	var e tenant.Event
	if err := json.Unmarshal(body, &e); err != nil || e.ID != q.Header.Get("webhook-id") {
		r.c.t.Errorf("webhook %q says %s: %v", q.Header.Get("webhook-id"), body, err)
	}
	r.mu.Lock()
	r.seen[e.ID]++
	if r.seen[e.ID] == 1 {
		r.first = append(r.first, e)
	}
	r.mu.Unlock()
	select {
	case <-r.well:
		w.WriteHeader(http.StatusNoContent)
		return
	default:
	}
	switch n := r.c.chance(300); {
	case n < 15:
		w.WriteHeader(http.StatusInternalServerError)
	case n < 20:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case n < 30:
		http.Redirect(w, q, "/elsewhere", http.StatusFound)
	case n < 40:
		panic(http.ErrAbortHandler) // reset: it has the event, and nobody knows
	case n < 50:
		w.Header().Set("Content-Length", "1000") // the answer ends half-way
		w.Write([]byte("half"))
		panic(http.ErrAbortHandler)
	case n == 50: // hangs until the sender has lost patience
		select {
		case <-q.Context().Done():
		case <-r.well:
		}
	case n == 51: // answers when that is too late
		select {
		case <-time.After(16 * time.Second):
		case <-r.well:
		}
	}
}
