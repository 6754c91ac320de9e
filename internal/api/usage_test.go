package api_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/sheet"
	"github.com/hibari/hibari/internal/tenant"
)

// past opens a connection and puts it into the past: so long it lasted, that long ago.
func (c *caller) past(channel string, role tenant.Role, ago, lasted time.Duration) (id string) {
	c.t.Helper()
	id, _ = c.open(channel, role)
	if err := c.ledger.Close(c.t.Context(), id, tenant.Ending{Reason: tenant.EndClient}); err != nil {
		c.t.Fatal(err)
	}
	_, err := c.pool.Exec(c.t.Context(), `
		update connection set opened_at = now() - $2::interval, connected_at = now() - $2::interval,
			metered_through = now() - $2::interval + $3::interval, ended_at = now() - $2::interval + $3::interval, bytes_out = 1000
		where connection_id = $1`, id, ago, lasted)
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

// table reads a file of CSV: the rows by column.
func table(t *testing.T, file []byte) (rows []map[string]string) {
	t.Helper()
	lines, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil || len(lines) == 0 {
		t.Fatal(lines, err)
	}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range lines[0] {
			row[name] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// The pages of segments, the same as CSV and as lines, and the usage of the time say the
// same to the unit.
func TestSegmentsInEveryForm(t *testing.T) {
	c := newService(t).caller(t, "lark")
	c.service.caller(t, "finch").past("hello", tenant.SendOnly, time.Hour, time.Minute)
	ids := []string{
		c.past("=cmd()", tenant.SendOnly, 30*time.Hour, 29*time.Hour), // there before the time asked for begins
		c.past("hello", tenant.RecvOnly, 5*time.Hour, 61*time.Second),
		c.past("hello", tenant.SendOnly, 4*time.Hour, 0),
	}
	c.past("hello", tenant.SendOnly, 30*time.Hour, time.Hour) // over by then
	from := time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
	asked := "from=" + from
	var items []map[string]any
	for cursor := ""; ; {
		page := c.get("/v1/segments?limit=2&" + asked + cursor).want(200)
		items = append(items, page.items()...)
		if page.next() == "" {
			break
		}
		cursor = "&cursor=" + page.next()
	}
	rows := table(t, c.do("GET", "/v1/segments?"+asked, nil, "Accept", "text/csv").want(200).body)
	lines := c.do("GET", "/v1/segments?"+asked, nil, "Accept", "application/x-ndjson").want(200)
	if kind := lines.header.Get("Content-Type"); kind != "application/x-ndjson" {
		t.Errorf("lines of %s", kind)
	}
	if len(items) != 3 || len(rows) != 3 {
		t.Fatalf("%d items, %d rows", len(items), len(rows))
	}
	scan := bufio.NewScanner(bytes.NewReader(lines.body))
	sums := map[string]int64{}
	for i := range items {
		if !scan.Scan() {
			t.Fatal("too few lines")
		}
		var line map[string]any
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if items[i]["connection_id"] != ids[i] || rows[i]["connection_id"] != ids[i] || line["connection_id"] != ids[i] {
			t.Errorf("%d: %v %v %v, want %s", i, items[i], rows[i], line, ids[i])
		}
		if want := items[i]["channel_id"].(string); rows[i]["channel_id"] != sheet.Text(want) {
			t.Errorf("channel %q is %q as CSV", want, rows[i]["channel_id"])
		}
		for _, column := range []string{"minutes", "seconds", "billed_seconds", "bytes_in", "bytes_out"} {
			n, err := strconv.ParseInt(rows[i][column], 10, 64)
			if err != nil || float64(n) != items[i][column] || float64(n) != line[column] {
				t.Errorf("%s: %v as JSON, %v as CSV, %v as a line", column, items[i][column], rows[i][column], line[column])
			}
			sums[column] += n
		}
	}
	if rows[0]["total_minutes"] != strconv.Itoa(29*60) || rows[0]["minutes"] != strconv.Itoa(23*60) || rows[2]["minutes"] != "1" {
		t.Errorf("%v", rows)
	}
	for _, by := range []string{"hour", "day", "month", "channel", "role"} {
		got := map[string]int64{}
		usage := table(t, c.do("GET", "/v1/usage?group_by="+by+"&"+asked, nil, "Accept", "text/csv").want(200).body)
		for _, row := range usage {
			for _, column := range []string{"minutes", "seconds", "billed_seconds", "bytes_in", "bytes_out"} {
				n, err := strconv.ParseInt(row[column], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				got[column] += n
			}
		}
		for column, n := range got {
			if n != sums[column] {
				t.Errorf("by %s: %d %s, the segments have %d", by, n, column, sums[column])
			}
		}
	}
	if only := c.get("/v1/usage?group_by=day&channel_id=hello&role=recvonly&" + asked).want(200).items(); len(only) != 1 || only[0]["minutes"] != 2.0 {
		t.Errorf("%v", only)
	}
	through, err := time.Parse(time.RFC3339, c.get("/v1/usage").want(200).object()["data_through"].(string))
	if err != nil || time.Since(through).Abs() > time.Minute {
		t.Errorf("data through %v, %v", through, err)
	}
	if only := c.get("/v1/segments?channel_id=hello&role=recvonly&" + asked).want(200).items(); len(only) != 1 || only[0]["connection_id"] != ids[1] {
		t.Errorf("%v", only)
	}
	for _, query := range []string{"cursor=x", "from=yesterday", "limit=0", "role=x", "channel_id=%00"} {
		c.get("/v1/segments?"+query).problem(422, api.CodeInvalid)
	}
}

// More files at once than a tenant may have are refused, and a file's seat is free again
// when it has gone.
func TestExportsHaveSeats(t *testing.T) {
	exports := tenant.NewSeats("exports", 2, 0, 0)
	c := newService(t, func(c *api.Config) { c.Exports = exports }).caller(t, "lark")
	c.past("hello", tenant.SendOnly, time.Hour, time.Minute)
	for range 5 {
		c.do("GET", "/v1/segments", nil, "Accept", "text/csv").want(200)
	}
	var leaves []func()
	for range 2 {
		leave, err := exports.Take(t.Context(), c.scope.Tenant())
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	c.do("GET", "/v1/segments", nil, "Accept", "text/csv").problem(429, tenant.RateLimited)
	c.get("/v1/segments").want(200)
	for _, leave := range leaves {
		leave()
	}
	if file := c.do("GET", "/v1/usage", nil, "Accept", "application/jsonl").want(200); strings.Count(string(file.body), "\n") != 1 {
		t.Errorf("%s", file.body)
	}
}
