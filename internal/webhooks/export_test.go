package webhooks

// ParseRetryAfter lets the external fuzz test reach a parser of outside bytes.
var ParseRetryAfter = parseRetryAfter
