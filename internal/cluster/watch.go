package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// confirmPatience is how long who commanded something waits to hear that it was
	// done.
	confirmPatience = 750 * time.Millisecond
	// confirmPause is how often what is waited for is looked up: once for all who
	// wait.
	confirmPause = 40 * time.Millisecond
)

// watch is what is waited for of other nodes. Its methods may be called from any
// goroutine.
type watch struct {
	// Static
	wake chan struct{} // one token: somebody waits

	mu sync.Mutex
	// Guarded by mu
	byID map[int64]*watched
}

// watched is a command that somebody waits for.
type watched struct {
	done chan struct{} // closed when the rest is known
	// Static once done is closed; written by the loop alone
	said    verdict
	waiting int // guarded by watch.mu: how many wait
}

// verdict is what a node says of an order. The zero value is that of a disconnect.
type verdict struct {
	Result  json.RawMessage `json:"result,omitempty"`
	Code    tenant.Code     `json:"code,omitempty"` // it was refused
	Detail  string          `json:"detail,omitempty"`
	Missing bool            `json:"missing,omitempty"` // there is no such thing
	Late    bool            `json:"late,omitempty"`    // it had expired
}

// err is why an order was not carried out; nil: it was.
func (v verdict) err() error {
	switch {
	case v.Missing:
		return ErrNotFound
	case v.Late:
		return tenant.Refuse(tenant.Unavailable, "the connection's node was too busy to do it in time, and has not done it; try again")
	case v.Code != "":
		return &tenant.Refusal{Code: v.Code, Detail: v.Detail}
	}
	return nil
}

// verdictOf is what a node says of an order that ended so. An error that is not the
// caller's is for the log; it returns that.
func verdictOf(result any, err error) (verdict, error) {
	var refusal *tenant.Refusal
	switch {
	case errors.As(err, &refusal):
		return verdict{Code: refusal.Code, Detail: refusal.Detail}, nil
	case errors.Is(err, tenant.ErrNotFound):
		return verdict{Missing: true}, nil
	case err == nil:
		text, failed := json.Marshal(result)
		if failed == nil {
			return verdict{Result: text}, nil
		}
		err = failed
	}
	return verdict{Code: tenant.Unavailable, Detail: "the connection's node could not do it; try again"}, err
}

func newWatch() *watch { return &watch{wake: make(chan struct{}, 1), byID: map[int64]*watched{}} }

// await waits for commands, as Sent.Wait does.
func (w *watch) await(ctx context.Context, ids []int64) (results []json.RawMessage, confirmed bool, err error) {
	all := w.add(ids)
	defer w.remove(ids)
	patience := time.NewTimer(confirmPatience)
	defer patience.Stop()
	for _, one := range all {
		select {
		case <-one.done:
		case <-patience.C:
			return results, false, err
		case <-ctx.Done():
			return results, false, err
		}
		if failed := one.said.err(); failed != nil && err == nil {
			err = failed
		}
		if one.said.Result != nil {
			results = append(results, one.said.Result)
		}
	}
	return results, true, err
}

func (w *watch) add(ids []int64) []*watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*watched, len(ids))
	for i, id := range ids {
		one := w.byID[id]
		if one == nil {
			one = &watched{done: make(chan struct{})}
			w.byID[id] = one
		}
		one.waiting++
		list[i] = one
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return list
}

func (w *watch) remove(ids []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if one := w.byID[id]; one != nil {
			if one.waiting--; one.waiting == 0 {
				delete(w.byID, id)
			}
		}
	}
}

// open lists what is not known yet.
func (w *watch) open() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	open := map[int64]*watched{}
	for id, one := range w.byID {
		select {
		case <-one.done:
		default:
			open[id] = one
		}
	}
	return sorted(open)
}

// tell tells those who wait what came of a command.
func (w *watch) tell(id int64, said verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.byID[id]
	if one == nil {
		return
	}
	select {
	case <-one.done:
	default:
		one.said = said
		close(one.done)
	}
}

// confirm looks after the commands that are waited for until there are none. An order
// that expires is done when its result is there: done_at says only that it was taken.
func (n *Node) confirm(ctx context.Context) error {
	pause := time.NewTicker(confirmPause)
	defer pause.Stop()
	for {
		ids := n.watch.open()
		if len(ids) == 0 {
			return nil
		}
		rows, err := n.pool.Query(ctx, `
			select command_id, result::text from node_command
			where command_id = any($1) and (result is not null or done_at is not null and expires_at is null)`, ids)
		if err != nil {
			return fmt.Errorf("couldn't look for what came of commands: %w", err)
		}
		var id int64
		var result *string
		_, err = pgx.ForEachRow(rows, []any{&id, &result}, func() error {
			var said verdict
			if result != nil {
				if err := json.Unmarshal([]byte(*result), &said); err != nil {
					return err
				}
			}
			n.watch.tell(id, said)
			return nil
		})
		if err != nil {
			return fmt.Errorf("couldn't look for what came of commands: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
}
