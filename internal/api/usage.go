package api

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// usageRow is the use in one hour, day or month, or by one channel or role.
type usageRow struct {
	From        time.Time    `json:"from" doc:"Included."`
	To          time.Time    `json:"to" doc:"Not included."`
	Channel     *string      `json:"channel_id,omitempty" doc:"Grouped by channel."`
	Role        *tenant.Role `json:"role,omitempty" enum:"sendonly,recvonly,sendrecv" doc:"Grouped by role."`
	Connections int64        `json:"connections" doc:"Whose media connected in this time."`
	Minutes     int64        `json:"minutes" doc:"Billed: minutes that started in this time."`
	Seconds     int64        `json:"seconds" doc:"Full seconds."`
	BytesIn     int64        `json:"bytes_in"`
	BytesOut    int64        `json:"bytes_out"`
	// Added later than the others.
	BilledSeconds    int64 `json:"billed_seconds" doc:"By the plan's rule of billable time."`
	RecordingSeconds int64 `json:"recording_seconds" doc:"Full seconds of recordings."`
}

func showUsage(r billing.UsageRow) usageRow {
	shown := usageRow{From: r.From, To: r.To, Channel: textOrNull(r.Channel), Connections: r.Connections, Minutes: r.Minutes,
		Seconds: r.Seconds, BytesIn: r.BytesIn, BytesOut: r.BytesOut, BilledSeconds: r.BilledSeconds, RecordingSeconds: r.RecordingSeconds}
	if r.Role != "" {
		shown.Role = &r.Role
	}
	return shown
}

// usagePage is a page of usage.
type usagePage struct {
	Items    []usageRow `json:"items"`
	Next     *string    `json:"next" doc:"The cursor of the next page; null: this is the last."`
	From     time.Time  `json:"from" doc:"What was asked for, in the tenant's time zone."`
	To       time.Time  `json:"to"`
	TimeZone string     `json:"time_zone" example:"Asia/Tokyo" doc:"The tenant's: hours, days and months are counted in it."`
	GroupBy  string     `json:"group_by" enum:"hour,day,month,channel,role"`
	// DataThrough is billing.UsageReport's.
	DataThrough time.Time `json:"data_through" doc:"Until when everything is counted: now, or what the live connection that was heard of longest ago is proven until."`
}

// Span is the time asked for.
type Span struct {
	From string `query:"from" maxLength:"40" example:"2026-11-01" doc:"The first day, or a time (RFC 3339). Absent: 30 days before to."`
	To   string `query:"to" maxLength:"40" example:"2026-12-01" doc:"The day, or the time, that is not included any more. Absent: now."`
}

// usageInput says which usage.
type usageInput struct {
	Span
	Wanted
	GroupBy string `query:"group_by" enum:"hour,day,month,channel,role" default:"day"`
	Channel string `query:"channel_id" maxLength:"510" doc:"Only that of this channel."`
	Role    string `query:"role" enum:"sendonly,recvonly,sendrecv" doc:"Only that of this role."`
	Limit   int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"How many items a page has at most."`
	Cursor  string `query:"cursor" maxLength:"2048" doc:"The next of the page before. Absent: from the start."`
}

func (a *API) getUsage(ctx context.Context, scope tenant.Scope, in *usageInput) (out exported[usagePage], err error) {
	if err := checkText("channel_id", in.Channel); err != nil {
		return out, err
	}
	zone, err := a.zone(ctx, scope)
	if err != nil {
		return out, err
	}
	from, to, err := in.period(zone, time.Now())
	if err != nil {
		return out, err
	}
	report, err := a.Ledger.Report(ctx, scope, billing.UsageQuery{From: from, To: to, By: billing.GroupBy(in.GroupBy),
		Channel: scope.ChannelName(in.Channel), Role: tenant.Role(in.Role)})
	if err != nil {
		return out, err
	}
	rows := report.Rows
	out.page = func(context.Context) (p usagePage, err error) {
		if p, err = in.page(rows); err == nil {
			p.From, p.To, p.TimeZone, p.GroupBy, p.DataThrough = from, to, zone.String(), in.GroupBy, report.DataThrough
		}
		return p, err
	}
	out.name = fmt.Sprintf("hibari-usage-%s-%s", from.Format(time.DateOnly), in.GroupBy)
	out.rows = func(context.Context) iter.Seq2[record, error] {
		return func(yield func(record, error) bool) {
			for _, r := range rows {
				if !yield(record{showUsage(r), report.Cells(r)}, nil) {
					return
				}
			}
		}
	}
	return out, nil
}

// zone is the tenant's time zone.
func (a *API) zone(ctx context.Context, scope tenant.Scope) (*time.Location, error) {
	t, err := a.Tenants.Tenant(ctx, scope)
	if err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(t.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("couldn't load the time zone of %s: %w", t.ID, err)
	}
	return zone, nil
}

// period reads from and to. Days begin in the tenant's time zone.
func (in Span) period(zone *time.Location, now time.Time) (from, to time.Time, err error) {
	to = now.In(zone).Truncate(time.Second).Add(time.Second)
	if in.To != "" {
		if to, err = readTime("to", in.To, zone); err != nil {
			return from, to, err
		}
	}
	from = to.AddDate(0, 0, -30)
	if in.From != "" {
		if from, err = readTime("from", in.From, zone); err != nil {
			return from, to, err
		}
	}
	switch {
	case !from.Before(to):
		return from, to, invalid("query", "from", "It must be before to.")
	case to.Sub(from) > billing.LongestUsage:
		return from, to, invalid("query", "from", "Ask for at most 400 days.")
	}
	return from, to, nil
}

// readTime reads a day or a time (RFC 3339). A year with more or less than four
// digits is none in either.
func readTime(field, text string, zone *time.Location) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, invalid("query", field, "It must be a day such as 2026-11-01, or a time such as 2026-11-01T00:00:00Z.")
	}
	return at.In(zone), nil
}

// page cuts the page asked for. Its cursor is what the last row stands for, and
// the moment, channel or role after it is the next page's first.
func (in *usageInput) page(rows []billing.UsageRow) (usagePage, error) {
	list := "usage-" + in.GroupBy
	position, err := readCursor(list, in.Cursor, 1)
	if err != nil {
		return usagePage{}, err
	}
	key := func(r billing.UsageRow) string {
		switch billing.GroupBy(in.GroupBy) {
		case billing.ByChannel:
			return r.Channel
		case billing.ByRole:
			return string(r.Role)
		}
		return strconv.FormatInt(r.From.Unix()+yearOne, 10)
	}
	for position != nil && len(rows) > 0 && key(rows[0]) <= position[0] {
		rows = rows[1:]
	}
	cut := pageOf(rows, in.Limit, showUsage, func(r billing.UsageRow) string { return newCursor(list, key(r)) })
	return usagePage{Items: cut.Items, Next: cut.Next}, nil
}

// yearOne makes the seconds of every time a number of as many digits, so that
// they sort as text.
const yearOne = 100_000_000_000
