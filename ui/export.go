package ui

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// safeCell makes a text safe to open in a spreadsheet, which takes a cell that
// begins with one of these signs for a formula: an apostrophe says that it is
// text.
func safeCell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}

// sendAudit sends entries as a file of the kind csv (RFC 4180) or jsonl (one JSON
// object a line). Nothing has been written when it returns an error; what breaks
// later breaks the download off, so that nobody takes a part for the whole.
func sendAudit(w http.ResponseWriter, kind, name string, entries iter.Seq2[tenant.AuditEntry, error]) error {
	table := csv.NewWriter(w)
	table.UseCRLF = true
	begun := false
	begin := func() {
		begun = true
		h := w.Header()
		if kind == "csv" {
			h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
		} else {
			h.Set("Content-Type", "application/jsonl; charset=utf-8")
		}
		h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.%s"`, name, kind))
		if kind == "csv" {
			table.Write([]string{"audit_id", "at", "actor", "actor_name", "action", "target", "address", "request_id", "diff", "detail"})
		}
	}
	lines := json.NewEncoder(w)
	write := func(e tenant.AuditEntry) error {
		if kind != "csv" {
			return lines.Encode(e)
		}
		row := []string{strconv.FormatInt(e.ID, 10), e.At.UTC().Format(time.RFC3339Nano), e.Actor, e.ActorName, e.Action, e.Target,
			e.Address, e.RequestID, string(e.Diff), string(e.Detail)}
		for i := range row {
			row[i] = safeCell(row[i])
		}
		return table.Write(row)
	}
	for e, err := range entries {
		if err != nil && !begun {
			return err
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if !begun {
			begin()
		}
		if write(e) != nil {
			return nil // the client is gone
		}
	}
	if !begun {
		begin()
	}
	table.Flush()
	return nil
}
