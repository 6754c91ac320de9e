package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// The auth webhook: a tenant's own server is asked, before a connection opens,
// whether it may, and may set what a grant can set. Whoever cannot be asked lets
// nobody in.

const (
	// authTimeout is how long a client waits for its tenant's server, its turn
	// included.
	authTimeout = 5 * time.Second
	// maxAuthPerTenant is how many questions to one tenant's server are open at
	// once, on this node. The others wait, and hold up no other tenant.
	maxAuthPerTenant = 32
	// maxAuthWaiting is how many wait for one of these: more clients at once than
	// any licence lets in are not worth asking about.
	maxAuthWaiting = 2000
	// authIdle is how many connections to one server are kept for the next
	// question.
	authIdle = 8
)

// Authorize asks a tenant's server about a client and returns what it grants.
// The error is a *tenant.Refusal: auth_rejected with the server's reason,
// auth_timeout, or auth_unavailable. It takes 5 s at most.
func (w *Webhooks) Authorize(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) (tenant.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	began := time.Now()
	grant, refusal := w.authorize(ctx, hook, a)
	said, level := "allowed", w.log.Info
	if refusal != nil {
		said = string(refusal.Code)
		if refusal.Code != tenant.AuthRejected {
			level = w.log.Warn
		}
	}
	w.counters.authorized(refusal)
	line := []any{"tenant_id", a.Tenant, "connection", a.ConnectionID, "outcome", said, "took", time.Since(began).Round(time.Millisecond)}
	if refusal == nil {
		level("auth webhook asked", line...)
		return grant, nil
	}
	level("auth webhook asked", append(line, "why", refusal.ForTenant().Detail)...)
	return tenant.Grant{}, refusal
}

func (w *Webhooks) authorize(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) (tenant.Grant, *tenant.Refusal) {
	leave, err := w.authSeats.Take(ctx, a.Tenant)
	if err != nil {
		return tenant.Grant{}, unanswered(fmt.Sprintf("%d questions to your auth webhook were open for %s already", maxAuthPerTenant, seconds(authTimeout)))
	}
	defer leave()
	r, err := authRequest(ctx, hook, a)
	if err != nil {
		return tenant.Grant{}, notAsked(err.Error())
	}
	answer, err := w.authClient.Do(r)
	switch {
	case err != nil && isTimeout(err):
		return tenant.Grant{}, unanswered("your auth webhook did not answer within " + seconds(authTimeout))
	case err != nil:
		return tenant.Grant{}, notAsked(w.egress.explain(err).words)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return tenant.Grant{}, noEntry("your auth webhook answered " + statusText(answer.StatusCode) + "; 200 lets a client in")
	}
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil && isTimeout(err):
		return tenant.Grant{}, unanswered("your auth webhook's answer was not complete within " + seconds(authTimeout))
	case err != nil:
		return tenant.Grant{}, notAsked("its answer broke off: " + w.egress.explain(err).words)
	}
	return readAuthAnswer(answer.Header.Get("Content-Type"), body)
}

// The refusals, each with what the tenant alone is told: where its server is and
// what is wrong with it is nothing for the client.
func unanswered(internal string) *tenant.Refusal {
	r := tenant.Refuse(tenant.AuthTimeout, "the service that decides who may come in did not answer in time; try again")
	r.Internal = internal
	return r
}

func notAsked(internal string) *tenant.Refusal {
	r := tenant.Refuse(tenant.AuthUnavailable, "the service that decides who may come in is not available; try again later")
	r.Internal = internal
	return r
}

func noEntry(internal string) *tenant.Refusal {
	r := tenant.Refuse(tenant.AuthRejected, "the service that decides who may come in said no")
	r.Internal = internal
	return r
}

// readAuthAnswer reads the body of a 200. One that is no JSON is the plain yes of
// 2015.
func readAuthAnswer(contentType string, body []byte) (tenant.Grant, *tenant.Refusal) {
	body = bytes.TrimSpace(body)
	media, _, _ := mime.ParseMediaType(contentType)
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	if len(body) == 0 || !isJSON && body[0] != '{' {
		return tenant.Grant{}, nil
	}
	f, ok := tenant.ReadFields(body)
	if !ok {
		return tenant.Grant{}, notAsked("your auth webhook's answer is no JSON object")
	}
	allowed, reason := f.Flag("allowed", true), f.Text("reason")
	if f.Err() == nil && !allowed {
		if reason = tenant.Printable(reason, maxReason); reason == "" {
			return tenant.Grant{}, noEntry("your auth webhook said no, without a reason")
		}
		r := tenant.Refuse(tenant.AuthRejected, "%s", reason)
		r.Word = reason
		return tenant.Grant{}, r
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
		return tenant.Grant{}, notAsked("your auth webhook's answer is wrong: " + err.Error())
	}
	return grant, nil
}

// maxReason is what a WebSocket close frame has room for (RFC 6455 §5.5).
const maxReason = 123

// authQuestion is the body of a request, in Sora's words and in those of 2015.
// What it says itself takes the place of a field of the wish.
type authQuestion struct {
	ID        string `json:"id"`
	Timestamp string `json:"timestamp"`
	TenantID  string `json:"tenant_id"`

	Role            string          `json:"role"`      // in the words of the client's dialect
	ChannelID2015   string          `json:"channelId"` // the same as ChannelID
	ChannelID       string          `json:"channel_id"`
	ConnectionID215 string          `json:"clientId"` // the same as ConnectionID
	ConnectionID    string          `json:"connection_id"`
	ClientID        string          `json:"client_id"`
	BundleID        string          `json:"bundle_id"`
	AccessToken     string          `json:"accessToken"`
	Connected       int             `json:"connected"`
	Metadata        json.RawMessage `json:"metadata"`
	AuthMetadata    json.RawMessage `json:"auth_metadata"`
	TokenMetadata   json.RawMessage `json:"token_metadata"`

	tenant.Grant

	Multistream               bool `json:"multistream"`
	Simulcast                 bool `json:"simulcast"`
	Spotlight                 bool `json:"spotlight"`
	DataChannelSignaling      bool `json:"data_channel_signaling"`
	IgnoreDisconnectWebSocket bool `json:"ignore_disconnect_websocket"`
	WHIP                      bool `json:"whip"`
	WHEP                      bool `json:"whep"`
	Ayame                     bool `json:"ayame"` // it comes for a peer-to-peer call
	E2EE                      bool `json:"e2ee"`

	SoraClient soraClient `json:"sora_client"`
	tenant.Counts
}

type soraClient struct {
	Raw         string `json:"raw"`
	Environment string `json:"environment"`
}

// authRequest makes the signed request.
func authRequest(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) (*http.Request, error) {
	if hook.Secret == "" {
		return nil, errors.New("the secret that signs its requests cannot be opened; replace it under Settings")
	}
	at := time.Now()
	q := authQuestion{
		ID: tenant.NewID(), Timestamp: at.UTC().Format("2006-01-02T15:04:05.000000Z"), TenantID: string(a.Tenant),
		Role: string(a.Role), ChannelID2015: a.Channel, ChannelID: a.Channel,
		ConnectionID215: a.ConnectionID, ConnectionID: a.ConnectionID, ClientID: a.ClientID, BundleID: a.Wish.BundleID,
		AccessToken: a.AccessToken, Connected: a.Counts.Connections,
		Metadata: a.Said, AuthMetadata: a.Said, TokenMetadata: a.Metadata,
		Grant: a.Wish, Multistream: true,
		Simulcast: is(a.Wish.Simulcast), Spotlight: is(a.Wish.Spotlight),
		DataChannelSignaling: is(a.Wish.DataChannelSignaling), IgnoreDisconnectWebSocket: is(a.Wish.IgnoreDisconnectWebSocket),
		WHIP: a.Protocol == "whip", WHEP: a.Protocol == "whep", Ayame: a.PeerToPeer(),
		SoraClient: soraClient{a.Client, a.Environment}, Counts: a.Counts,
	}
	if a.Protocol == "sora2015" {
		q.Role = role2015(a.Role)
	}
	if q.Metadata == nil {
		q.Metadata = a.Metadata
	}
	if q.BundleID == "" {
		q.BundleID = a.ConnectionID
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("couldn't write the question: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("its URL is no URL any longer")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", userAgent)
	r.Header.Set("sora-connection-id", a.ConnectionID)
	r.Header["Idempotency-Key"] = nil // as in request
	return r, sign(r.Header, []string{hook.Secret}, q.ID, at, body)
}

// is reports whether a switch is on.
func is(on *bool) bool { return on != nil && *on }
