package webhooks

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// AuthDecision is what came of a question to an auth webhook.
type AuthDecision string

// The decisions. All but the first keep the client out; of those only
// AuthSaidNo is the tenant's own word.
const (
	AuthAllowed     AuthDecision = "allowed"
	AuthSaidNo      AuthDecision = "rejected"
	AuthTimedOut    AuthDecision = "timeout"      // no whole answer within 5 s
	AuthOutOfReach  AuthDecision = "unavailable"  // no connection, or an answer that says that it is broken
	AuthBadResponse AuthDecision = "bad_response" // an answer that makes no sense
	AuthBreakerOpen AuthDecision = "breaker_open" // it was not asked: it has not answered for a while
)

// AuthDecisions lists every decision.
var AuthDecisions = [...]AuthDecision{AuthAllowed, AuthSaidNo, AuthTimedOut, AuthOutOfReach, AuthBadResponse, AuthBreakerOpen}

// index returns a decision's place in AuthDecisions.
func (d AuthDecision) index() int {
	for i, known := range AuthDecisions {
		if d == known {
			return i
		}
	}
	panic("a decision that is not listed: " + string(d))
}

// FailedAnswer is the class of an answer that makes no sense, of auth webhooks
// alone: of deliveries the body means nothing.
const FailedAnswer ErrorClass = "bad_answer"

// authVerdict is what came of a question, for the client, its tenant and the log.
type authVerdict struct {
	decision AuthDecision
	class    ErrorClass // "": it was answered, and not in vain
	status   int        // 0: no answer
	words    string     // for the tenant; of a refusal the detail
	said     string     // a reason of the tenant's own, for the client
	head     string     // the answer's first bytes, without secrets
	grant    tenant.Grant
}

// refusal is what the client is told; nil: it may come in. Where the tenant's server
// is and what is wrong with it is nothing for the client.
func (v authVerdict) refusal() *tenant.Refusal {
	var r *tenant.Refusal
	switch {
	case v.decision == AuthAllowed:
		return nil
	case v.said != "":
		r = tenant.Refuse(tenant.AuthRejected, "%s", v.said)
		r.Word = v.said
		return r
	case v.decision == AuthSaidNo:
		r = tenant.Refuse(tenant.AuthRejected, "the service that decides who may come in said no")
	case v.decision == AuthTimedOut:
		r = tenant.Refuse(tenant.AuthTimeout, "the service that decides who may come in did not answer in time; try again")
	default:
		r = tenant.Refuse(tenant.AuthUnavailable, "the service that decides who may come in is not available; try again later")
	}
	r.Internal = v.words
	return r
}

// failed reports whether the server did not answer as one that works does.
func (v authVerdict) failed() bool {
	return v.decision == AuthTimedOut || v.decision == AuthOutOfReach
}

// judgeStatus judges an answer that is not 200: it refuses, and one that says that
// the server itself is in trouble is as none.
func judgeStatus(status int) authVerdict {
	v := authVerdict{decision: AuthSaidNo, status: status, words: "your auth webhook answered " + statusText(status) + "; 200 lets a client in"}
	if status >= 500 || status == http.StatusTooManyRequests {
		v.decision, v.class = AuthOutOfReach, FailedHTTPStatus
	}
	return v
}

// readAuthAnswer reads the body of a 200. One that is no JSON is the plain yes of
// 2015.
func readAuthAnswer(contentType string, body []byte) authVerdict {
	body = bytes.TrimSpace(body)
	media, _, _ := mime.ParseMediaType(contentType)
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	if len(body) == 0 || !isJSON && body[0] != '{' {
		return authVerdict{decision: AuthAllowed}
	}
	f, ok := tenant.ReadFields(body)
	if !ok {
		return badAnswer("is no JSON object")
	}
	allowed, reason := f.Flag("allowed", true), f.Text("reason")
	if f.Err() == nil && !allowed {
		v := authVerdict{decision: AuthSaidNo, said: tenant.Printable(reason, maxReason)}
		if v.words = v.said; v.said == "" {
			v.words = "your auth webhook said no, without a reason"
		}
		return v
	}
	err := f.Err()
	var grant tenant.Grant
	if err == nil {
		grant, err = tenant.ReadGrant(body)
	}
	if err != nil {
		var field *tenant.FieldError
		if errors.As(err, &field) {
			err = errors.New(field.Field + " " + field.Problem)
		}
		return badAnswer("is wrong: " + err.Error())
	}
	return authVerdict{decision: AuthAllowed, grant: grant}
}

func badAnswer(how string) authVerdict {
	return authVerdict{decision: AuthBadResponse, class: FailedAnswer, words: "your auth webhook's answer " + how}
}

// maxReason is what a WebSocket close frame has room for (RFC 6455 §5.5).
const maxReason = 123

// What of an answer is left out of the log.
const (
	notKept   = "[not kept]"
	minSecret = 8 // bytes: shorter ones would be found everywhere
)

// answerHead returns the first answerKept bytes of an answer as the log may keep
// them: without the client's token, wherever it stands, and without what is in any
// field of metadata.
func answerHead(body []byte, token string) string {
	text := string(bytes.TrimSpace(body))
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var value any
		if d.Decode(&value) == nil && !d.More() {
			if clean, err := json.Marshal(withoutSecrets(value, token, 0)); err == nil {
				return cutHead(string(clean))
			}
		}
		// It cannot be read, so that nobody knows where metadata ends.
		if i := strings.Index(strings.ToLower(text), "metadata"); i >= 0 {
			text = text[:i] + notKept
		}
	}
	return cutHead(withoutToken(text, token))
}

func cutHead(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	if len(text) > answerKept {
		text = text[:answerKept]
	}
	return strings.ToValidUTF8(text, "")
}

func withoutToken(text, token string) string {
	if len(token) < minSecret {
		return text
	}
	return strings.ReplaceAll(text, token, notKept)
}

// withoutSecrets is a JSON value as answerHead keeps it.
func withoutSecrets(value any, token string, depth int) any {
	if depth > maxHeadDepth {
		return notKept
	}
	switch value := value.(type) {
	case string:
		return withoutToken(value, token)
	case []any:
		for i := range value {
			value[i] = withoutSecrets(value[i], token, depth+1)
		}
	case map[string]any:
		kept := make(map[string]any, len(value))
		for name, inner := range value {
			if hidden := strings.ToLower(name); strings.Contains(hidden, "metadata") || strings.Contains(hidden, "token") || strings.Contains(hidden, "secret") || strings.Contains(hidden, "password") {
				inner = notKept
			}
			kept[withoutToken(name, token)] = withoutSecrets(inner, token, depth+1)
		}
		return kept
	}
	return value
}

const maxHeadDepth = 32
