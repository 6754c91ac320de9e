//go:build linux && (amd64 || arm64)

package e2e

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// used is a use: what every surface says of an hour, a day, a channel.
type used struct{ Connections, Minutes, Seconds int64 }

func (u used) plus(o used) used {
	return used{u.Connections + o.Connections, u.Minutes + o.Minutes, u.Seconds + o.Seconds}
}

// tally counts minutes and seconds one by one, as docs/billing.md has them: minute k
// belongs to the time in which it starts, second k to that in which it is full.
func (h *hour) tally(group func(segment, time.Time) string) map[string]used {
	all := map[string]used{}
	for _, s := range h.ledger {
		add := func(at time.Time, u used) { all[group(s, at)] = all[group(s, at)].plus(u) }
		add(s.Connected, used{Connections: 1})
		for k := range minutesFor(s.Ended.Sub(s.Connected)) {
			add(s.Connected.Add(time.Duration(k)*time.Minute), used{Minutes: 1})
		}
		for k := s.Connected.Add(time.Second); !k.After(s.Ended); k = k.Add(time.Second) {
			add(k.Add(-1), used{Seconds: 1}) // a second that is full at midnight is the day's before
		}
	}
	return all
}

var tokyo = func() *time.Location {
	zone, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		panic(err)
	}
	return zone
}()

// hourGroups are the groupings, and how a row of one is known.
var hourGroups = map[string]func(segment, time.Time) string{
	"hour":    func(_ segment, at time.Time) string { return at.In(tokyo).Truncate(time.Hour).Format(time.RFC3339) },
	"day":     func(_ segment, at time.Time) string { return at.In(tokyo).Format(time.DateOnly) + "T00:00:00+09:00" },
	"channel": func(s segment, _ time.Time) string { return s.Channel },
	"role":    func(s segment, _ time.Time) string { return s.Role },
}

// checkUsage compares what every surface says of the use with the ledger's segments.
func (h *hour) checkUsage() {
	t := h.t
	t.Helper()
	asked := fmt.Sprintf("/v1/usage?from=%s&to=%s&group_by=", h.start.In(tokyo).Format(time.DateOnly), h.start.In(tokyo).AddDate(0, 0, 3).Format(time.DateOnly))
	for by, group := range hourGroups {
		want := h.tally(group)
		if got := h.usageJSON(asked + by); !maps.Equal(got, want) {
			t.Errorf("by %s the API says %v, and the segments are %v", by, got, want)
		}
		if got := h.usageCSV(asked + by); !maps.Equal(got, want) {
			t.Errorf("by %s the CSV says %v, and the segments are %v", by, got, want)
		}
	}
	whole := h.tally(func(segment, time.Time) string { return "" })[""]
	if events := h.usageEvents(); events != whole {
		t.Errorf("the events say %v, and the segments are %v", events, whole)
	}
	days := h.tally(func(_ segment, at time.Time) string { return at.In(tokyo).Format("2 Jan 2006") })
	if page := h.usagePage(); !sameDays(page, days) {
		t.Errorf("the page says %v, and the segments are %v", page, days)
	}
	t.Logf("API, CSV, page, events and segments agree: %+v", whole)
}

// get asks the API.
func (h *hour) get(path, accept string) []byte {
	h.t.Helper()
	r, err := http.NewRequest("GET", h.server.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.account.APIKey)
	r.Header.Set("Accept", accept)
	return h.fetch(http.DefaultClient, r)
}

func (h *hour) fetch(client *http.Client, r *http.Request) []byte {
	h.t.Helper()
	w, err := client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode != http.StatusOK {
		h.t.Fatalf("%s answered %d %s, %v", r.URL, w.StatusCode, body, err)
	}
	return body
}

func (h *hour) usageJSON(path string) map[string]used {
	var page struct {
		Items []struct {
			From    time.Time
			Channel string `json:"channel_id"`
			Role    string
			used
		}
		Next *string
	}
	if err := json.Unmarshal(h.get(path, "application/json"), &page); err != nil || page.Next != nil {
		h.t.Fatalf("%s: %v, next %v", path, err, page.Next)
	}
	all := map[string]used{}
	for _, i := range page.Items {
		all[rowKey(i.From, i.Channel, i.Role)] = i.used
	}
	return all
}

func rowKey(from time.Time, channel, role string) string {
	if channel+role != "" {
		return channel + role
	}
	return from.In(tokyo).Format(time.RFC3339)
}

func (h *hour) usageCSV(path string) map[string]used {
	h.t.Helper()
	all := map[string]used{}
	for _, row := range readTable(h, h.get(path, "text/csv")) {
		from, err := time.Parse(time.RFC3339, row["from"])
		if err != nil {
			h.t.Fatal(err)
		}
		all[rowKey(from, row["channel_id"], row["role"])] = used{number(row["connections"]), number(row["minutes"]), number(row["seconds"])}
	}
	return all
}

// readTable reads CSV by the names of its columns.
func readTable(h *hour, text []byte) (rows []map[string]string) {
	h.t.Helper()
	records, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil || len(records) == 0 {
		h.t.Fatalf("%q is no CSV: %v", text, err)
	}
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// number reads a number as people write it; -1: it is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// usageEvents adds up what connection.destroyed said.
func (h *hour) usageEvents() (sum used) {
	h.t.Helper()
	for cursor := "0"; ; {
		var page struct {
			Items []struct {
				Data struct {
					Minutes int64
					Seconds int64 `json:"duration_seconds"`
				}
			}
			Next *string
		}
		if err := json.Unmarshal(h.get("/v1/events?types=connection.destroyed&limit=1000&cursor="+cursor, "application/json"), &page); err != nil {
			h.t.Fatal(err)
		}
		for _, e := range page.Items {
			sum = sum.plus(used{1, e.Data.Minutes, e.Data.Seconds})
		}
		if page.Next == nil {
			return sum
		}
		cursor = *page.Next
	}
}

// member is a browser without a screen, logged in as the tenant's owner.
func (h *hour) member() *http.Client {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: patience}
	form := url.Values{"email": {h.account.Email}, "password": {password}, "next": {"/console"}}
	r, err := http.NewRequest("POST", h.server.url+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	h.fetch(client, r)
	return client
}

// usagePage reads the days off the console's page: the rows of its table, by the day.
func (h *hour) usagePage() map[string]used {
	h.t.Helper()
	r, err := http.NewRequest("GET", h.server.url+"/console/usage?range=30d", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	page, err := html.Parse(strings.NewReader(string(h.fetch(h.member(), r))))
	if err != nil {
		h.t.Fatal(err)
	}
	all := map[string]used{}
	for n := range page.Descendants() {
		if n.Type != html.ElementNode || n.Data != "tr" || !inTable(n, "usage-days") {
			continue
		}
		cells := map[string]string{}
		for c := range n.ChildNodes() {
			for _, a := range c.Attr {
				if a.Key == "data-label" {
					cells[a.Val] = strings.TrimSpace(textOf(c))
				}
			}
		}
		if day := cells["Day"]; day != "" {
			all[day] = used{number(cells["Connections"]), number(cells["Minutes"]), number(cells["Seconds"])}
		}
	}
	return all
}

func inTable(n *html.Node, id string) bool {
	for a := range n.Ancestors() {
		if slices.Contains(a.Attr, html.Attribute{Key: "id", Val: id}) {
			return true
		}
	}
	return false
}

func textOf(n *html.Node) (text string) {
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			text += d.Data
		}
	}
	return text
}

// sameDays compares the days of a page, however it names them, with those wanted: by
// their values, in any order.
func sameDays(page, want map[string]used) bool {
	sorted := func(m map[string]used) []used {
		return slices.SortedFunc(maps.Values(m), func(a, b used) int { return int(a.Seconds - b.Seconds) })
	}
	return slices.Equal(sorted(page), sorted(want))
}
