package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// session is a WebDriver BiDi session (W3C WebDriver BiDi): commands with a
// number go out, answers with that number come back, in any order.
type session struct {
	ws     *websocket.Conn
	gone   chan struct{} // closed when the reader has ended
	reader context.CancelFunc

	mu sync.Mutex
	// Guarded by mu.
	last    int64
	waiting map[int64]chan reply
}

// command is what a client sends.
type command struct {
	ID     int64  `json:"id"`
	Method string `json:"method"`
	Params any    `json:"params"`
}

// reply is an answer to a command; without an id it is an event.
type reply struct {
	ID      int64           `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   string          `json:"error"`
	Message string          `json:"message"`
}

var errGone = errors.New("the browser has closed the session")

// newSession connects to a BiDi server, "ws://127.0.0.1:…".
func newSession(ctx context.Context, address string) (*session, error) {
	ws, _, err := websocket.Dial(ctx, address+"/session", nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(64 << 20)
	life, cancel := context.WithCancel(context.Background())
	s := &session{ws: ws, gone: make(chan struct{}), reader: cancel, waiting: map[int64]chan reply{}}
	go s.read(life)
	if err := s.call(ctx, "session.new", map[string]any{"capabilities": map[string]any{}}, nil); err != nil {
		s.end(ctx)
		return nil, err
	}
	return s, nil
}

// read hands answers to who waits for them; events are of no interest.
func (s *session) read(ctx context.Context) {
	defer close(s.gone)
	for {
		var r reply
		if err := wsjson.Read(ctx, s.ws, &r); err != nil {
			return
		}
		s.mu.Lock()
		answer := s.waiting[r.ID]
		delete(s.waiting, r.ID)
		s.mu.Unlock()
		if answer != nil {
			answer <- r // has room for the one there is
		}
	}
}

// call sends a command and waits for its result, which may be nil.
func (s *session) call(ctx context.Context, method string, params, result any) error {
	answer := make(chan reply, 1)
	s.mu.Lock()
	s.last++
	id := s.last
	s.waiting[id] = answer
	s.mu.Unlock()
	if err := wsjson.Write(ctx, s.ws, command{ID: id, Method: method, Params: params}); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case r := <-answer:
		if r.Error != "" {
			return fmt.Errorf("%s: %s: %s", method, r.Error, r.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-s.gone:
		return fmt.Errorf("%s: %w", method, errGone)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

// end closes the browser and the session.
func (s *session) end(ctx context.Context) {
	_ = s.call(ctx, "browser.close", struct{}{}, nil)
	s.reader()
	<-s.gone
	_ = s.ws.CloseNow()
}

// bidiTab is a tab, a "top-level browsing context".
type bidiTab struct {
	session *session
	context string
}

func (s *session) openTab(ctx context.Context) (engine, error) {
	var created struct {
		Context string `json:"context"`
	}
	// A window of its own: tabs behind another one are slowed down.
	err := s.call(ctx, "browsingContext.create", map[string]any{"type": "window"}, &created)
	return bidiTab{s, created.Context}, err
}

func (b bidiTab) navigate(ctx context.Context, url string) error {
	return b.session.call(ctx, "browsingContext.navigate", map[string]any{"context": b.context, "url": url, "wait": "complete"}, nil)
}

func (b bidiTab) evaluate(ctx context.Context, expression string) (json.RawMessage, error) {
	var answer struct {
		Type   string `json:"type"` // success, exception
		Result struct {
			Value string `json:"value"` // JSON; empty for undefined
		} `json:"result"`
		Exception struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	// BiDi has a JSON of its own for values, so the page writes a plain one.
	err := b.session.call(ctx, "script.evaluate", map[string]any{
		"expression":     "(async () => JSON.stringify(await (" + expression + "\n)))()",
		"target":         map[string]any{"context": b.context},
		"awaitPromise":   true,
		"userActivation": true,
	}, &answer)
	switch {
	case err != nil:
		return nil, err
	case answer.Type != "success":
		return nil, errors.New(answer.Exception.Text)
	}
	return json.RawMessage(answer.Result.Value), nil
}

func (b bidiTab) close() {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	_ = b.session.call(ctx, "browsingContext.close", map[string]any{"context": b.context}, nil)
}
