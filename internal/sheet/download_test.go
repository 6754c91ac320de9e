package sheet_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/sheet"
)

// serve answers requests with a file of so many rows, which ends with err.
func serve(t *testing.T, rows int, ending error) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := sheet.NewDownload(w, sheet.ContentType, "a b.csv")
		table := sheet.New(d)
		for range rows {
			if table.Row("=a row of some length, so that a few of them fill a piece") != nil {
				return
			}
		}
		if err := table.Flush(); err != nil {
			return
		}
		if err := d.End(ending); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestDownload(t *testing.T) {
	broken := errors.New("the database went away")
	for _, c := range []struct {
		name   string
		rows   int
		ending error
		status int
		whole  bool
	}{
		{"whole", 5000, nil, http.StatusOK, true},
		{"short", 1, nil, http.StatusOK, true},
		{"empty", 0, nil, http.StatusOK, true},
		{"told", 1, broken, http.StatusServiceUnavailable, true},
		{"broken off", 5000, broken, http.StatusOK, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, err := http.Get(serve(t, c.rows, c.ending))
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if answer.StatusCode != c.status || (err == nil) != c.whole {
				t.Errorf("status %d, then %v", answer.StatusCode, err)
			}
			if c.status != http.StatusOK {
				if !strings.Contains(string(body), broken.Error()) || answer.Header.Get("Content-Disposition") != "" {
					t.Errorf("%v %q", answer.Header, body)
				}
				return
			}
			if c.whole && bytes.Count(body, []byte("\r\n")) != c.rows {
				t.Errorf("%d rows, want %d", bytes.Count(body, []byte("\r\n")), c.rows)
			}
			if answer.Header.Get("Content-Type") != sheet.ContentType || answer.Header.Get("Content-Disposition") != `attachment; filename="a b.csv"` {
				t.Errorf("%v", answer.Header)
			}
		})
	}
}
