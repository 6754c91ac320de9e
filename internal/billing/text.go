package billing

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxText is how many bytes of a client's own words are kept.
const maxText = 512

// storable makes text from a client's headers fit for Postgres, which takes
// neither NUL nor broken UTF-8, and no longer than anybody would read.
func storable(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// unstorable reports whether Postgres refused a value for what it is (SQLSTATE
// class 22, data exception), which no retry would change.
func unstorable(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "22")
}
