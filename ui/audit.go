package ui

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// auditData is a page of the audit log, newest first.
type auditData struct {
	entries []tenant.AuditEntry
	names   map[string]string // of actors
	next    int64             // older entries are before this one; 0: there are none
}

const auditPageSize = 50

func (c *Console) audit(w http.ResponseWriter, r *http.Request, v *visit) error {
	before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if err != nil || before < 0 {
		before = 0
	}
	d := auditData{names: map[string]string{"operator": "operator"}}
	if d.entries, err = c.Tenants.AuditEntries(r.Context(), v.login.Scope, before, auditPageSize+1); err != nil {
		return err
	}
	if len(d.entries) > auditPageSize {
		d.entries = d.entries[:auditPageSize]
		d.next = d.entries[auditPageSize-1].ID
	}
	members, err := c.Tenants.Members(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	for _, m := range members {
		d.names["member:"+m.ID] = m.Email
	}
	return v.page(w, r, http.StatusOK, auditPageOf(v, d))
}

// actor names who did something; a member that is gone keeps their id.
func (d auditData) actor(id string) string {
	if name, ok := d.names[id]; ok {
		return name
	}
	return strings.Replace(id, "api_key:", "API key ", 1)
}

// detail is an entry's detail as one line; a dash when there is none.
func detail(e tenant.AuditEntry) string {
	if string(e.Detail) == "{}" {
		return "–"
	}
	return string(e.Detail)
}
