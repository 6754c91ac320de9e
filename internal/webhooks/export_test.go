package webhooks

import "net/url"

// ParseRetryAfter lets the external fuzz test reach a parser of outside bytes.
var ParseRetryAfter = parseRetryAfter

// Harmless and StorableValue let the external fuzz test compare them.
var (
	Harmless      = harmless
	StorableValue = storableValue
)

// ClassOf and WordsOf are what is said of a failed request.
func ClassOf(err error) ErrorClass { return new(Egress).explain(err).class }
func WordsOf(err error) string     { return new(Egress).explain(err).words }

// ReadStreamQuery lets the external fuzz test reach the parameters of /stream.
func ReadStreamQuery(values url.Values) (after int64, filter Filter, err error) {
	q, err := readStreamQuery(values)
	return q.after, q.filter, err
}
