package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// eventPage is a page of events, and how far it reaches.
type eventPage struct {
	Items    []Event `json:"items"`
	Next     *string `json:"next" doc:"The cursor of the next page; null: this is the last."`
	Position int64   `json:"position" doc:"The seq up to which this page has everything, what the filter leaves out included. To follow the events, ask again with after = position."`
}

// listEvents lists by seq, so that a cursor is a seq: what is next of one page
// is after of another.
func (a *API) listEvents(ctx context.Context, scope tenant.Scope, in *struct {
	After      string   `query:"after" maxLength:"20" pattern:"^[0-9]*$" example:"0" doc:"The seq to go on after; absent: from the oldest that is kept. Events that are no longer kept are told (410), never skipped."`
	Limit      int      `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items a page has at most. With a filter a page may have fewer and not be the last: next says."`
	Cursor     string   `query:"cursor" maxLength:"20" doc:"The next of the page before; the same as after."`
	Types      []string `query:"types" maxItems:"32" example:"connection.created" doc:"Only events of these types, with commas between."`
	Channel    string   `query:"channel_id" maxLength:"255" doc:"Only events of this channel."`
	Connection string   `query:"connection_id" maxLength:"255" doc:"Only events of this connection."`
}) (p eventPage, err error) {
	filter := webhooks.Filter{Types: in.Types, Channel: in.Channel, Connection: in.Connection}
	for i, name := range in.Types {
		if !slices.Contains(webhooks.Types, name) {
			return p, invalid("query", fmt.Sprintf("types[%d]", i), "There is no such event type.")
		}
	}
	after, err := a.eventPosition(ctx, scope, in.After, in.Cursor)
	if err != nil {
		return p, err
	}
	events, looked, err := a.Hooks.FindEvents(ctx, scope, filter, after, in.Limit)
	if err != nil {
		return p, err
	}
	p.Items, p.Position = []Event{}, looked
	for _, e := range events {
		p.Items = append(p.Items, showEvent(e))
	}
	if len(events) == in.Limit || looked-after >= webhooks.MaxLooked {
		p.Next = new(strconv.FormatInt(looked, 10))
	}
	return p, nil
}

// eventPosition reads where a page begins, and refuses a position that could only
// be gone on from by skipping events in silence, or that is none.
func (a *API) eventPosition(ctx context.Context, scope tenant.Scope, after, cursor string) (int64, error) {
	text, field := after, "after"
	if cursor != "" {
		text, field = cursor, "cursor"
	}
	var position int64
	if text != "" {
		var err error
		if position, err = webhooks.ParseAfter(text); err != nil {
			return 0, invalid("query", field, "It is the seq of an event: a whole number from 0.")
		}
	}
	last, err := a.Hooks.LastSeq(ctx, scope) // first, so that what is missing is no more to come
	if err != nil {
		return 0, err
	}
	if position > last {
		return 0, invalid("query", field, "It is greater than the seq of the last event, which is "+strconv.FormatInt(last, 10)+".")
	}
	if position == last {
		return position, nil
	}
	next, err := a.Hooks.Events(ctx, scope, position, 1)
	if err != nil {
		return 0, err
	}
	first := last + 1
	if len(next) > 0 {
		first = next[0].Seq
	}
	if text != "" && first != position+1 {
		p := newProblem(CodeExpired, fmt.Sprintf("the events after %d are no longer kept; those that are begin with %d: go on with after=%d", position, first, first-1))
		p.RetentionFrom = first
		return 0, p
	}
	return first - 1, nil
}
