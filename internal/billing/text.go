package billing

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxText is how many bytes of a client's own words are kept.
const maxText = 512

// unstorable reports whether Postgres refused a value for what it is (SQLSTATE
// class 22, data exception), which no retry would change.
func unstorable(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "22")
}

// violates reports whether Postgres refused a row because of a constraint.
func violates(err error, constraint string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.ConstraintName == constraint
}
