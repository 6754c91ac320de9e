package api

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/hibari/hibari/internal/sheet"
	"github.com/hibari/hibari/internal/tenant"
)

// oldLinesType is another name of sheet.LinesType.
const oldLinesType = "application/x-ndjson"

// Wanted is in the input of an operation that answers in several forms.
type Wanted struct {
	Accept string `header:"Accept" hidden:"true"`
}

// form returns the media type of a file that the client asked for, and did not prefer
// JSON to; "": JSON.
func (w Wanted) form() string {
	for kind := range strings.SplitSeq(w.Accept, ",") {
		kind, _, _ = strings.Cut(kind, ";")
		switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
		case sheet.MediaType, sheet.LinesType, oldLinesType:
			return kind
		case "application/json":
			return ""
		}
	}
	return ""
}

// former has a form.
type former interface{ form() string }

// record is one item of an export.
type record struct {
	item  any   // as in the page
	cells []any // as a row of CSV
}

// exported is an answer that is either a page or all as a file.
type exported[P any] struct {
	page func(context.Context) (P, error)
	name string // of the file, without its kind
	// rows are all, as they are read. Their context lasts as long as the client stays.
	rows func(context.Context) iter.Seq2[record, error]
}

// exportAnswer writes whichever was asked for.
type exportAnswer struct{ Body func(huma.Context) }

// export makes an operation that answers with a page, or with all items as CSV with the
// columns or as lines of JSON. A file may be larger than memory and take longer than a
// request: it has no seat among the requests, but one among the exports.
func export[I, P any](a *API, columns []string, answer func(context.Context, tenant.Scope, *I) (exported[P], error)) func(huma.API, huma.Operation) {
	return func(described huma.API, o huma.Operation) {
		page := described.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[P](), true, "")
		o.Responses = map[string]*huma.Response{"200": {
			Description: http.StatusText(http.StatusOK),
			Content: map[string]*huma.MediaType{
				"application/json": {Schema: page},
				sheet.MediaType:    {Schema: &huma.Schema{Type: huma.TypeString}, Example: strings.Join(columns, ",") + "\n"},
				sheet.LinesType:    {Schema: &huma.Schema{Type: huma.TypeString}},
				oldLinesType:       {Schema: &huma.Schema{Type: huma.TypeString}},
			},
		}}
		huma.Register(described, o, func(ctx context.Context, in *I) (*exportAnswer, error) {
			asking := askingOf(ctx)
			out, err := answer(ctx, asking.scope, in)
			if err != nil {
				return nil, asking.told(err)
			}
			if form := any(in).(former).form(); form != "" {
				tenant.LeaveSeat(ctx)
				leave, err := a.exportSeat(asking.request.Context(), asking.scope)
				if err != nil {
					return nil, asking.told(err)
				}
				return &exportAnswer{func(answering huma.Context) {
					defer leave()
					_, w := humachi.Unwrap(answering)
					if err := out.file(asking.request.Context(), w, form, columns); err != nil {
						Fail(w, asking.request, a.Log, err)
					}
				}}, nil
			}
			p, err := out.page(ctx)
			if err != nil {
				return nil, asking.told(err)
			}
			text, err := json.Marshal(p)
			if err != nil {
				return nil, asking.told(fmt.Errorf("couldn't write an answer: %w", err))
			}
			return &exportAnswer{func(answering huma.Context) {
				answering.SetHeader("Content-Type", "application/json")
				answering.SetStatus(http.StatusOK)
				answering.BodyWriter().Write(text)
			}}, nil
		})
	}
}

// exportSeat waits for the tenant's turn to have a file.
func (a *API) exportSeat(ctx context.Context, scope tenant.Scope) (leave func(), err error) {
	if a.Exports == nil {
		return func() {}, nil
	}
	return a.Exports.Take(ctx, scope.Tenant())
}

// file sends all rows. Nothing has been written when it returns an error.
func (e *exported[P]) file(ctx context.Context, w http.ResponseWriter, form string, columns []string) error {
	if form == sheet.MediaType {
		file := sheet.NewDownload(w, sheet.ContentType, e.name+".csv")
		table := sheet.New(file)
		head := make([]any, len(columns))
		for i, name := range columns {
			head[i] = name
		}
		return each(e.rows(ctx), file, func(r record) error { return table.Row(r.cells...) }, func() error { return table.Row(head...) }, table.Flush)
	}
	file := sheet.NewDownload(w, form, e.name+".jsonl")
	lines := json.NewEncoder(file)
	nothing := func() error { return nil }
	return each(e.rows(ctx), file, func(r record) error { return lines.Encode(r.item) }, nothing, nothing)
}

// each writes every row to the file, and ends it.
func each(rows iter.Seq2[record, error], file *sheet.Download, write func(record) error, begin, end func() error) error {
	if err := begin(); err != nil {
		return err
	}
	for r, err := range rows {
		if err != nil {
			return file.End(err)
		}
		if err := write(r); err != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
	}
	return file.End(end())
}
