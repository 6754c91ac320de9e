package ui

import (
	"encoding/json"
	"iter"
	"net/http"
	"time"

	"github.com/hibari/hibari/internal/sheet"
	"github.com/hibari/hibari/internal/tenant"
)

// sendAudit sends entries as a file of the kind csv (RFC 4180) or jsonl (one JSON
// object a line). It has written nothing when it returns an error; what breaks
// later breaks the download off.
func sendAudit(w http.ResponseWriter, kind, name string, entries iter.Seq2[tenant.AuditEntry, error]) error {
	contentType := sheet.ContentType
	if kind != "csv" {
		contentType = sheet.LinesType
	}
	file := sheet.NewDownload(w, contentType, name+"."+kind)
	table, lines := sheet.New(file), json.NewEncoder(file)
	write := func(e tenant.AuditEntry) error {
		if kind != "csv" {
			return lines.Encode(e)
		}
		return table.Row(e.ID, e.At.UTC().Format(time.RFC3339Nano), e.Actor, e.ActorName, e.Action, e.Target,
			e.Address, e.RequestID, string(e.Diff), string(e.Detail))
	}
	if kind == "csv" {
		if err := table.Row("audit_id", "at", "actor", "actor_name", "action", "target", "address", "request_id", "diff", "detail"); err != nil {
			return err
		}
	}
	for e, err := range entries {
		if err != nil {
			return file.End(err)
		}
		if err := write(e); err != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
	}
	if err := table.Flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
	return file.End(nil)
}
