package webhooks

// ParseRetryAfter lets the external fuzz test reach a parser of outside bytes.
var ParseRetryAfter = parseRetryAfter

// Harmless and StorableValue let the external fuzz test compare them.
var (
	Harmless      = harmless
	StorableValue = storableValue
)
