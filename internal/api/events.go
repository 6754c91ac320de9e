package api

import (
	"context"
	"strconv"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// listEvents lists by seq, so that a cursor is a seq: what is next of one page
// is after of another.
func (a *API) listEvents(ctx context.Context, scope tenant.Scope, in *struct {
	After  string `query:"after" maxLength:"20" pattern:"^[0-9]*$" example:"0" doc:"The seq to go on after; absent: from the oldest that is kept. Events that are no longer kept are told (410), never skipped."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items a page has at most."`
	Cursor string `query:"cursor" maxLength:"20" doc:"The next of the page before; the same as after."`
}) (p page[Event], err error) {
	position, field := in.After, "after"
	if in.Cursor != "" {
		position, field = in.Cursor, "cursor"
	}
	after := int64(0)
	if position != "" {
		if after, err = webhooks.ParseAfter(position); err != nil {
			return p, invalid("query", field, "It is the seq of an event: a whole number from 0.")
		}
	}
	events, err := a.Hooks.Events(ctx, scope, after, in.Limit)
	if err != nil {
		return p, err
	}
	if position != "" {
		if err := a.checkPosition(ctx, scope, after, field, events); err != nil {
			return p, err
		}
	}
	p = pageOf(events, in.Limit, showEvent, nil)
	if len(events) == in.Limit {
		p.Next = new(strconv.FormatInt(events[len(events)-1].Seq, 10))
	}
	return p, nil
}

// checkPosition refuses a position that could only be gone on from by skipping
// events in silence, or that is none.
func (a *API) checkPosition(ctx context.Context, scope tenant.Scope, after int64, field string, events []tenant.Event) error {
	if len(events) > 0 && events[0].Seq == after+1 {
		return nil
	}
	last, err := a.Hooks.LastSeq(ctx, scope)
	switch {
	case err != nil:
		return err
	case after > last:
		return invalid("query", field, "It is greater than the seq of the last event, which is "+strconv.FormatInt(last, 10)+".")
	case len(events) > 0:
		return newProblem(CodeExpired, "the events after "+strconv.FormatInt(after, 10)+" are no longer kept; those that are begin after "+strconv.FormatInt(events[0].Seq-1, 10))
	case after < last:
		// Either they were born since, and are the next page's, or all are gone.
		again, err := a.Hooks.Events(ctx, scope, after, 1)
		if err == nil && len(again) == 0 {
			err = newProblem(CodeExpired, "the events after "+strconv.FormatInt(after, 10)+" are no longer kept; go on after "+strconv.FormatInt(last, 10))
		}
		return err
	}
	return nil
}
