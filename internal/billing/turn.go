package billing

import (
	"context"
	"slices"
	"sync"
)

// Every step of a connection's life locks its tenant's row first, so those of
// one tenant go one after the other however many clients come at once. turns
// makes use of that: who comes while a transaction is under way waits in the
// process, and the next transaction takes all who wait. It commits only if every
// one of them gets what it came for; else each has a transaction of its own,
// which says why not.

// turnsAtOnce is how many entries one transaction takes at most: the row that
// all others of the tenant wait for is not locked for long.
const turnsAtOnce = 64

// turn is one entry that waits or is under way.
type turn[T any] struct {
	ctx   context.Context
	entry T
	done  chan struct{} // closed when err and what entry points to are set
	err   error
}

// turns lets entries of one key wait for each other.
type turns[K comparable, T any] struct {
	// Static.
	together func(ctx context.Context, key K, entries []T) error // all or nothing
	alone    func(ctx context.Context, key K, entry T) error     // has the last word
	atOnce   chan struct{}                                       // a token for each transaction under way; nil: any number

	mu sync.Mutex
	// Guarded by mu. A key is there while its goroutine works.
	waiting map[K][]*turn[T]
}

func newTurns[K comparable, T any](together func(context.Context, K, []T) error, alone func(context.Context, K, T) error) *turns[K, T] {
	return &turns[K, T]{together: together, alone: alone, waiting: map[K][]*turn[T]{}}
}

// take makes the entry, alone or with others, and returns when that is over: an
// entry whose ctx ends meanwhile is given up, and not made later.
func (t *turns[K, T]) take(ctx context.Context, key K, entry T) error {
	mine := &turn[T]{ctx: ctx, entry: entry, done: make(chan struct{})}
	t.mu.Lock()
	others, busy := t.waiting[key]
	t.waiting[key] = append(others, mine)
	t.mu.Unlock()
	if !busy {
		go t.run(key)
	}
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
	}
	if t.withdraw(key, mine) {
		return ctx.Err()
	}
	<-mine.done // its transaction ends with ctx, too
	return mine.err
}

// withdraw takes a turn back that has not begun.
func (t *turns[K, T]) withdraw(key K, mine *turn[T]) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[key], mine)
	if i >= 0 {
		t.waiting[key] = slices.Delete(t.waiting[key], i, i+1)
	}
	return i >= 0
}

// run makes the entries of one key until none waits.
func (t *turns[K, T]) run(key K) {
	for {
		t.enter()
		list := t.next(key) // not before: who comes while we wait comes along
		if len(list) > 0 {
			t.make(key, list)
		}
		t.leave()
		if len(list) == 0 {
			return
		}
	}
}

func (t *turns[K, T]) enter() {
	if t.atOnce != nil {
		t.atOnce <- struct{}{}
	}
}

func (t *turns[K, T]) leave() {
	if t.atOnce != nil {
		<-t.atOnce
	}
}

// next takes those who wait; none: the key's goroutine ends.
func (t *turns[K, T]) next(key K) []*turn[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.waiting[key]
	if len(list) == 0 {
		delete(t.waiting, key)
		return nil
	}
	n := min(len(list), turnsAtOnce)
	t.waiting[key] = slices.Clone(list[n:])
	return list[:n]
}

// make makes entries together or, if that fails, one by one.
func (t *turns[K, T]) make(key K, list []*turn[T]) {
	if t.makeTogether(key, list) == nil {
		for _, one := range list {
			close(one.done)
		}
		return
	}
	for _, one := range list {
		if one.err = one.ctx.Err(); one.err == nil {
			one.err = t.alone(one.ctx, key, one.entry)
		}
		close(one.done)
	}
}

// makeTogether ends early if any of the entries' contexts does.
func (t *turns[K, T]) makeTogether(key K, list []*turn[T]) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(list[0].ctx))
	defer cancel()
	entries := make([]T, len(list))
	for i, one := range list {
		entries[i] = one.entry
		defer context.AfterFunc(one.ctx, cancel)()
	}
	return t.together(ctx, key, entries)
}
