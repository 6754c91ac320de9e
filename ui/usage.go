package ui

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/sheet"
	"github.com/hibari/hibari/internal/tenant"
)

// usageRange is a choice of the usage page, by the tenant's calendar.
type usageRange struct {
	key, name string
	// since returns its first day, which holds today.
	since func(today time.Time) time.Time
	until func(today time.Time) time.Time // nil: now
	by    billing.GroupBy                 // unless another is chosen
}

func daysBack(n int) func(time.Time) time.Time {
	return func(today time.Time) time.Time { return today.AddDate(0, 0, 1-n) }
}

// monthsBack returns the first day of a month, so many before today's.
func monthsBack(n int) func(time.Time) time.Time {
	return func(today time.Time) time.Time {
		return time.Date(today.Year(), today.Month()-time.Month(n), 1, 0, 0, 0, 0, today.Location())
	}
}

var usageRanges = []usageRange{
	{"1d", "Today", daysBack(1), nil, billing.ByHour}, {"7d", "7 days", daysBack(7), nil, billing.ByDay}, {"30d", "30 days", daysBack(30), nil, billing.ByDay},
	{"90d", "90 days", daysBack(90), nil, billing.ByDay},
	{"month", "This month", monthsBack(0), nil, billing.ByDay}, {"last-month", "Last month", monthsBack(1), monthsBack(0), billing.ByDay},
	{"12m", "12 months", monthsBack(11), nil, billing.ByMonth},
}

// The groupings in time that the page offers.
var usageGroups = []option{{string(billing.ByHour), "Hour"}, {string(billing.ByDay), "Day"}, {string(billing.ByMonth), "Month"}}

// mostHours is for how long a time the page has a row for each hour.
const mostHours = 32 * 24 * time.Hour

// usageForm is what usage is asked for, as the address says it.
type usageForm struct {
	chosen   usageRange // none: From and To are days that were typed
	By       billing.GroupBy
	Channel  string
	Role     tenant.Role
	From, To string // days, the last one included
	Problem  string // with the days; "": nothing
}

// askedUsage reads it; 30 days by day of everything if the address says nothing sensible.
func askedUsage(values url.Values, v *visit) (f usageForm, q billing.UsageQuery) {
	f = usageForm{chosen: usageRanges[2], Channel: strings.TrimSpace(values.Get("channel")), From: values.Get("from"), To: values.Get("to")}
	if !utf8.ValidString(f.Channel) || strings.ContainsRune(f.Channel, 0) {
		f.Channel = "" // no channel can have that name
	}
	for _, choice := range usageRanges {
		if choice.key == values.Get("range") {
			f.chosen = choice
		}
	}
	if role := tenant.Role(values.Get("role")); slices.Contains(roleOptions, option{string(role), roleWord(role)}) {
		f.Role = role
	}
	today := midnight(v.now.In(v.zone))
	q.From, q.To = f.chosen.since(today), v.now.Add(time.Second)
	if f.chosen.until != nil {
		q.To = f.chosen.until(today)
	}
	if f.From != "" || f.To != "" {
		f.typed(v, &q)
	}
	f.By = f.chosen.by
	if by := billing.GroupBy(values.Get("by")); by == billing.ByDay || by == billing.ByMonth || by == billing.ByHour && q.To.Sub(q.From) <= mostHours {
		f.By = by
	}
	q.By, q.Channel, q.Role = f.By, v.login.Scope.ChannelName(f.Channel), f.Role
	return f, q
}

// typed takes the days that were typed.
func (f *usageForm) typed(v *visit, q *billing.UsageQuery) {
	first, err := time.ParseInLocation(time.DateOnly, f.From, v.zone)
	last, other := time.ParseInLocation(time.DateOnly, f.To, v.zone)
	switch {
	case err != nil || other != nil:
		f.Problem = "Give both days, such as 2026-11-26."
	case last.Before(first):
		f.Problem = "It is before the first day."
	case last.Sub(first) > billing.LongestUsage-25*time.Hour:
		f.Problem = "Ask for at most 400 days."
	default:
		q.From, q.To = first, midnight(last.AddDate(0, 0, 1))
		f.chosen = usageRange{by: billing.ByDay}
		if last.Equal(first) {
			f.chosen.by = billing.ByHour
		}
	}
}

// query is the form as part of an address, with other values in the place of some.
func (f usageForm) query(instead ...string) string {
	values := url.Values{}
	set := func(name, value string) {
		if values.Del(name); value != "" {
			values.Set(name, value)
		}
	}
	if f.chosen.key != "" {
		set("range", f.chosen.key)
	} else {
		set("from", f.From)
		set("to", f.To)
	}
	if f.By != f.chosen.by {
		set("by", string(f.By))
	}
	set("channel", f.Channel)
	set("role", string(f.Role))
	for i := 0; i+1 < len(instead); i += 2 {
		set(instead[i], instead[i+1])
		if instead[i] == "range" { // with its own days and grouping
			set("from", "")
			set("to", "")
			set("by", "")
		}
	}
	return "?" + values.Encode()
}

// narrowed reports whether only a part of the usage is asked for.
func (f usageForm) narrowed() bool { return f.Channel != "" || f.Role != "" }

// roleOptions are the roles to choose from, "" being all.
var roleOptions = []option{{"", ""}, {string(tenant.SendOnly), roleWord(tenant.SendOnly)}, {string(tenant.RecvOnly), roleWord(tenant.RecvOnly)}, {string(tenant.SendRecv), roleWord(tenant.SendRecv)}}

// usageData is the usage page. The tables and the drawing show the same rows.
type usageData struct {
	form     usageForm
	report   billing.UsageReport // by time, what has no use included
	sum      rating.Usage
	channels []billing.UsageRow // with the most minutes, at most topUsage
	others   rating.Usage       // of the channels left out, together
	left     int                // how many those are
	roles    []billing.UsageRow
	peaks    peaksData      // empty if only a part is asked for
	month    *billing.Month // nil: nothing of the running period costs anything, or has a cap
}

const topUsage = 10

func (c *Console) usage(w http.ResponseWriter, r *http.Request, v *visit) error {
	var d usageData
	var q billing.UsageQuery
	d.form, q = askedUsage(r.URL.Query(), v)
	ctx, scope := r.Context(), v.login.Scope
	read := func(by billing.GroupBy, idle bool) (billing.UsageReport, error) {
		q := q
		q.By, q.Idle = by, idle
		return c.Ledger.Report(ctx, scope, q)
	}
	var err error
	if d.report, err = read(q.By, true); err != nil {
		return err
	}
	channels, err := read(billing.ByChannel, false)
	if err != nil {
		return err
	}
	roles, err := read(billing.ByRole, false)
	if err != nil {
		return err
	}
	d.channels, d.roles = channels.Rows, roles.Rows
	d.sum = sumUse(d.report.Rows)
	slices.SortStableFunc(d.channels, func(a, b billing.UsageRow) int { return int(b.Minutes - a.Minutes) })
	d.left = max(0, len(d.channels)-topUsage)
	d.others = sumUse(d.channels[len(d.channels)-d.left:])
	d.channels = d.channels[:len(d.channels)-d.left]
	if !d.form.narrowed() {
		d.peaks.chosen = peaksRange{name: d.form.chosen.name, hours: int(q.To.Sub(q.From)/time.Hour) + 1, byDay: q.By != billing.ByHour}
		if err := c.fillPeaks(r, v, &d.peaks, q.From.UTC().Truncate(time.Hour), q.To); err != nil {
			return err
		}
	}
	if c.Spend != nil {
		month, err := c.Spend.Month(ctx, scope)
		if err != nil {
			return err
		}
		if month.Bill.Total != 0 || month.Forecast != nil && month.Forecast.Total != 0 || month.Cap != nil {
			d.month = &month
		}
	}
	status := http.StatusOK
	if d.form.Problem != "" {
		status = http.StatusUnprocessableEntity
	}
	return v.page(w, r, status, usagePage(v, d))
}

// sumUse is what all rows used.
func sumUse(rows []billing.UsageRow) (sum rating.Usage) {
	for _, row := range rows {
		sum = sum.Add(row.Usage)
	}
	return sum
}

// usageCSV is the same as a file: by the time that the page has it by, or by what
// ?group_by= says.
func (c *Console) usageCSV(w http.ResponseWriter, r *http.Request, v *visit) error {
	f, q := askedUsage(r.URL.Query(), v)
	if by := billing.GroupBy(r.URL.Query().Get("group_by")); by == billing.ByChannel || by == billing.ByRole {
		q.By = by
	}
	report, err := c.Ledger.Report(r.Context(), v.login.Scope, q)
	if err != nil {
		return err
	}
	if err := c.auditExport(r, v, "usage.exported", f, q); err != nil {
		return err
	}
	file, table := c.csv(w, v, "usage-"+string(q.By), billing.UsageColumns)
	for _, row := range report.Rows {
		if table.Row(report.Cells(row)...) != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
	}
	return file.End(table.Flush())
}

// segmentsCSV is every connection that the same usage is the sum of.
func (c *Console) segmentsCSV(w http.ResponseWriter, r *http.Request, v *visit) error {
	f, q := askedUsage(r.URL.Query(), v)
	if err := c.auditExport(r, v, "segments.exported", f, q); err != nil {
		return err
	}
	file, table := c.csv(w, v, "segments", billing.SegmentColumns)
	segments := c.Ledger.EachSegment(r.Context(), v.login.Scope, billing.SegmentQuery{From: q.From, To: q.To, Channel: q.Channel, Role: q.Role})
	for segment, err := range segments {
		if err != nil {
			return file.End(err)
		}
		if table.Row(segment.Cells()...) != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
	}
	return file.End(table.Flush())
}

// csv begins a file with its columns' names.
func (c *Console) csv(w http.ResponseWriter, v *visit, name string, columns []string) (*sheet.Download, *sheet.Writer) {
	file := sheet.NewDownload(w, sheet.ContentType, "hibari-"+name+"-"+v.now.In(v.zone).Format(time.DateOnly)+".csv")
	table := sheet.New(file)
	head := make([]any, len(columns))
	for i, column := range columns {
		head[i] = column
	}
	table.Row(head...)
	return file, table
}

func (c *Console) auditExport(r *http.Request, v *visit, action string, f usageForm, q billing.UsageQuery) error {
	detail := map[string]any{"format": "csv", "from": q.From, "to": q.To, "by": q.By}
	if f.Channel != "" {
		detail["channel"] = f.Channel
	}
	if f.Role != "" {
		detail["role"] = f.Role
	}
	return c.auditLog(r.Context(), v, action, string(v.tenant.ID), detail)
}

// usedRows are the rows with use, newest first.
func usedRows(rows []billing.UsageRow) []billing.UsageRow {
	var used []billing.UsageRow
	for _, row := range slices.Backward(rows) {
		if !row.Usage.IsZero() {
			used = append(used, row)
		}
	}
	return used
}

// usageWord is what one row is of.
func usageWord(by billing.GroupBy) string {
	switch by {
	case billing.ByHour:
		return "hour"
	case billing.ByMonth:
		return "month"
	}
	return "day"
}

// usageName is a row's time for tables.
func usageName(row billing.UsageRow, by billing.GroupBy) string {
	switch by {
	case billing.ByHour:
		return row.From.Format("Mon 2 Jan 2006 15:04")
	case billing.ByMonth:
		return row.From.Format("January 2006")
	}
	return dayName(row.From)
}
