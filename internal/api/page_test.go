package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// Who goes through the pages while others come and go sees everybody who was
// there all the time, once, and nobody twice.
func TestPagesWhileOthersComeAndGo(t *testing.T) {
	s := newService(t)
	rapid.Check(t, func(rt *rapid.T) {
		c := s.caller(t, strings.ToLower(tenant.NewID()))
		n := 0
		come := func() string {
			n++
			if rapid.Bool().Draw(rt, "kind") {
				id, _ := c.open(fmt.Sprintf("room-%d", n), tenant.RecvOnly)
				return id
			}
			id, _ := c.open("hello", tenant.RecvOnly)
			return id
		}
		var stay []string
		for range rapid.IntRange(0, 6).Draw(rt, "at first") {
			stay = append(stay, come())
		}
		limit := rapid.IntRange(1, 4).Draw(rt, "limit")
		var seen []string
		for cursor, pages := "", 0; ; pages++ {
			r := c.get(fmt.Sprintf("/v1/connections?limit=%d&cursor=%s", limit, cursor)).want(200)
			for _, row := range r.items() {
				seen = append(seen, row["connection_id"].(string))
			}
			if cursor = r.next(); cursor == "" {
				break
			}
			if len(r.items()) != limit || pages > 20 {
				rt.Fatalf("page %d of %d items: %s", pages, limit, r.body)
			}
			switch {
			case rapid.Bool().Draw(rt, "comes"):
				come()
			case len(stay) > 0 && rapid.Bool().Draw(rt, "goes"):
				i := rapid.IntRange(0, len(stay)-1).Draw(rt, "who")
				c.do("DELETE", "/v1/connections/"+stay[i], nil).want(204)
				stay = slices.Delete(stay, i, i+1)
			}
		}
		for _, id := range stay {
			if !slices.Contains(seen, id) {
				rt.Fatalf("%s was there all the time and is on no page", id)
			}
		}
		slices.Sort(seen)
		if len(slices.Compact(slices.Clone(seen))) != len(seen) {
			rt.Fatalf("somebody is on two pages: %v", seen)
		}
	})
}

// A cursor of one list is none of another, and what is no cursor is told.
func TestCursorsOfOthers(t *testing.T) {
	c := newService(t).caller(t, "lark")
	c.open("a", tenant.RecvOnly)
	c.open("b", tenant.RecvOnly)
	cursors := map[string]string{}
	for _, path := range []string{"/v1/channels", "/v1/connections", "/v1/audit-log", "/v1/usage", "/v1/signing-keys", "/v1/members", "/v1/api-keys", "/v1/bans", "/v1/webhook-endpoints"} {
		group := ""
		if path == "/v1/usage" {
			group = "&group_by=channel"
		}
		cursors[path+"?limit=1"+group] = c.get(path + "?limit=1" + group).want(200).next()
	}
	for path := range cursors {
		for other, cursor := range cursors {
			if other != path && cursor != "" {
				c.get(path+"&cursor="+cursor).problem(422, api.CodeInvalid)
			}
		}
		for _, cursor := range []string{"x", "AA", "MQ", "!!", "%00", strings.Repeat("a", 3000)} {
			c.get(path+"&cursor="+cursor).problem(422, api.CodeInvalid)
		}
	}
}
