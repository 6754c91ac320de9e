package ui

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/sheet"
)

// usageRange is a choice of the usage page: the last days, today included.
type usageRange struct {
	key, name string
	days      int
}

var usageRanges = []usageRange{{"7d", "7 days", 7}, {"30d", "30 days", 30}, {"90d", "90 days", 90}, {"12m", "12 months", 365}}

// usageData is the usage page. The tables and the drawing show the same rows.
type usageData struct {
	chosen   usageRange
	days     []billing.UsageRow
	channels []billing.UsageRow // with the most minutes, at most topUsage
	roles    []billing.UsageRow
	others   int // channels left out
}

const topUsage = 10

// askedRange reads ?range=; 30 days if it says nothing sensible.
func askedRange(r *http.Request) usageRange {
	asked := r.URL.Query().Get("range")
	for _, choice := range usageRanges {
		if choice.key == asked {
			return choice
		}
	}
	return usageRanges[1]
}

// since is the first moment of the range, on the tenant's clock.
func (u usageRange) since(v *visit) time.Time {
	return midnight(v.now.In(v.zone)).AddDate(0, 0, 1-u.days)
}

func (c *Console) usage(w http.ResponseWriter, r *http.Request, v *visit) error {
	d := usageData{chosen: askedRange(r)}
	from := d.chosen.since(v)
	var err error
	if d.days, err = c.days(r, v, from, v.now); err != nil {
		return err
	}
	to := v.now.Add(time.Second)
	if d.channels, err = c.Ledger.Usage(r.Context(), v.login.Scope, from, to, billing.ByChannel); err != nil {
		return err
	}
	if d.roles, err = c.Ledger.Usage(r.Context(), v.login.Scope, from, to, billing.ByRole); err != nil {
		return err
	}
	slices.SortStableFunc(d.channels, func(a, b billing.UsageRow) int { return int(b.Minutes - a.Minutes) })
	d.others = max(0, len(d.channels)-topUsage)
	d.channels = d.channels[:len(d.channels)-d.others]
	return v.page(w, r, http.StatusOK, usagePage(v, d))
}

// usageCSV is the same days as a file.
func (c *Console) usageCSV(w http.ResponseWriter, r *http.Request, v *visit) error {
	chosen := askedRange(r)
	days, err := c.days(r, v, chosen.since(v), v.now)
	if err != nil {
		return err
	}
	if err := c.auditLog(r.Context(), v, "usage.exported", string(v.tenant.ID), map[string]any{"format": "csv", "range": chosen.key}); err != nil {
		return err
	}
	file := sheet.NewDownload(w, sheet.ContentType, fmt.Sprintf("hibari-usage-%s.csv", v.now.In(v.zone).Format(time.DateOnly)))
	table := sheet.New(file)
	table.Row("day", "time_zone", "connections", "minutes", "seconds", "bytes_in", "bytes_out")
	for _, day := range days {
		table.Row(day.From.Format(time.DateOnly), v.zone.String(), day.Connections, day.Minutes, day.Seconds, day.BytesIn, day.BytesOut)
	}
	return file.End(table.Flush())
}

// usedDays are the days with use, newest first.
func usedDays(days []billing.UsageRow) []billing.UsageRow {
	var used []billing.UsageRow
	for _, day := range slices.Backward(days) {
		if day.Minutes > 0 || day.Connections > 0 {
			used = append(used, day)
		}
	}
	return used
}
