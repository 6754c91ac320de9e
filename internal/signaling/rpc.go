package signaling

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Calls of clients over the channel rpc, by JSON-RPC 2.0. A client may call what
// its token or the tenant's auth webhook grants by name (rpc_methods), and only
// about itself: channel and connection are the caller's own.

// procedure is what a client can call.
type procedure struct {
	params []string // the names of what it takes; others are a mistake
	call   func(c *call, params fields) (result any, err error)
}

// JSON-RPC's codes of errors.
const (
	rpcParseError     = -32700
	rpcInvalidRequest = -32600
	rpcUnknownMethod  = -32601
	rpcInvalidParams  = -32602
	rpcInternalError  = -32603
	rpcServerError    = -32000 // called too often
)

// rpcResponse answers a call; it has a result or an error.
type rpcResponse struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

// rpcError says what was wrong with a call.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// callable are the procedures of a list that there are, each once.
func callable(methods []string) []string {
	var list []string
	for _, name := range methods {
		if _, ok := procedures[name]; ok && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// answerCall does what a message on the channel rpc asks; not nil: the client is
// gone. A wrong call is answered, and ends nothing.
func (s *session) answerCall(data []byte) *farewell {
	response := s.call.invoke(data)
	if response == nil {
		return nil
	}
	return s.say(labelRPC, response)
}

// invoke does what a request asks; nil: the client wants no answer.
func (c *call) invoke(data []byte) *rpcResponse {
	null := json.RawMessage("null")
	f, ok := tenant.ReadFields(data)
	if !ok {
		if json.Valid(data) {
			return rpcFailure(null, rpcInvalidRequest, "a request must be an object; there are no batches here")
		}
		return rpcFailure(null, rpcParseError, "this is no JSON")
	}
	id, wanted := f.Raw("id"), f.Has("id")
	if id == nil {
		id = null
	}
	if bytes.IndexByte([]byte("{[tf"), id[0]) >= 0 {
		return rpcFailure(null, rpcInvalidRequest, "id must be a number or a string")
	}
	if f.Text("jsonrpc") != "2.0" || f.Text("method") == "" || f.Err() != nil {
		return rpcFailure(id, rpcInvalidRequest, `want {"jsonrpc":"2.0","id":…,"method":…,"params":{…}}`)
	}
	result, failure := c.perform(f.Text("method"), f)
	switch {
	case !wanted: // a notification is answered by nothing, not even an error
		return nil
	case failure != nil:
		return &rpcResponse{JSONRPC: "2.0", ID: id, Error: failure}
	}
	return &rpcResponse{JSONRPC: "2.0", ID: id, Result: result}
}

// perform calls a procedure.
func (c *call) perform(method string, request fields) (any, *rpcError) {
	p, ok := procedures[method]
	if !ok || !slices.Contains(c.methods, method) {
		return nil, fault(rpcUnknownMethod, "it is not among the rpc_methods of this connection")
	}
	params := request.Object("params")
	for _, name := range params.Names() {
		if !slices.Contains(p.params, name) {
			params.Fail(name, "is unknown")
		}
	}
	if err := params.Err(); err != nil {
		return nil, fault(rpcInvalidParams, err.Error())
	}
	result, err := p.call(c, params)
	switch {
	case err == nil:
		return result, nil
	case errors.Is(err, sfu.ErrTooOften):
		return nil, fault(rpcServerError, err.Error())
	case callersFault(err):
		return nil, fault(rpcInvalidParams, err.Error())
	case !errors.Is(err, sfu.ErrEnded):
		c.door.log.Warn("a client's call failed", "connection", c.id, "method", method, "error", err)
	}
	return nil, fault(rpcInternalError, "it didn't work; try again")
}

// callersFault reports whether a call failed because of what it said.
func callersFault(err error) bool {
	return errors.As(err, new(*tenant.FieldError)) || errors.As(err, new(*tenant.Refusal)) ||
		slices.ContainsFunc([]error{
			sfu.ErrBadRID, sfu.ErrNotShown, sfu.ErrNoSpotlight, sfu.ErrMetadataLarge, sfu.ErrMetadataShape,
		}, func(target error) bool { return errors.Is(err, target) })
}

// faultBytes is the most that an error says: part of it may be the caller's words.
const faultBytes = 255

// fault is what was wrong with a call.
func fault(code int, message string) *rpcError {
	return &rpcError{code, cutText(message, faultBytes)}
}

// rpcFailure answers what is no call.
func rpcFailure(id json.RawMessage, code int, message string) *rpcResponse {
	return &rpcResponse{JSONRPC: "2.0", ID: id, Error: fault(code, message)}
}
