package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// authQuestion is the body of a request, in Sora's words and in those of 2015.
// What it says itself takes the place of a field of the wish.
type authQuestion struct {
	ID        string `json:"id"`
	Timestamp string `json:"timestamp"`
	TenantID  string `json:"tenant_id"`
	Version   string `json:"version"`   // of the platform
	Label     string `json:"label"`     // Sora's name of an installation
	NodeName  string `json:"node_name"` // of the process that asks
	Test      bool   `json:"test,omitempty"`

	Role            string          `json:"role"`      // in the words of the client's dialect
	ChannelID2015   string          `json:"channelId"` // as channel_id
	ChannelID       string          `json:"channel_id"`
	ConnectionID215 string          `json:"clientId"` // our id, as in all of 2015's dialect
	ConnectionID    string          `json:"connection_id"`
	ClientID        string          `json:"client_id"`
	BundleID        string          `json:"bundle_id"`
	AccessToken     string          `json:"accessToken"`
	Connected       int             `json:"connected"`
	Metadata        json.RawMessage `json:"metadata"`
	AuthMetadata    json.RawMessage `json:"auth_metadata"`
	TokenMetadata   json.RawMessage `json:"token_metadata"`

	tenant.Grant

	// ForwardingFilter is the filter of a client that has one, as Sora wrote it
	// before there could be several.
	ForwardingFilter *tenant.ForwardingFilter `json:"forwarding_filter,omitempty"`

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

// soraClient is what client software says of itself, and what of it can be read.
type soraClient struct {
	Raw         string `json:"raw"`
	Environment string `json:"environment"`
	Type        string `json:"type,omitempty"`
	Version     string `json:"version,omitempty"`
	CommitShort string `json:"commit_short,omitempty"`
	Libwebrtc   string `json:"libwebrtc,omitempty"`
}

// clientName is how Sora's SDKs name themselves: "Sora JavaScript SDK 2026.1.0",
// "Sora C++ SDK 2026.2.0 (0a1b2c3d)".
var clientName = regexp.MustCompile(`^(.*\S)\s+v?(\d+(?:\.\w+)+(?:-[\w.]+)?)(?:\s+\(([0-9a-f]{6,40})\))?$`)

func readClient(a tenant.Arrival) soraClient {
	c := soraClient{Raw: a.Client, Environment: a.Environment, Libwebrtc: a.Libwebrtc}
	if parts := clientName.FindStringSubmatch(a.Client); parts != nil {
		c.Type, c.Version, c.CommitShort = parts[1], parts[2], parts[3]
	}
	return c
}

// question is what a tenant's server is asked about an arrival.
func (w *Webhooks) question(a tenant.Arrival, at time.Time) authQuestion {
	q := authQuestion{
		ID: tenant.NewID(), Timestamp: at.UTC().Format("2006-01-02T15:04:05.000000Z"), TenantID: string(a.Tenant),
		Version: w.version, Label: "Hibari", NodeName: w.nodeName, Test: a.Test,
		Role: string(a.Role), ChannelID2015: a.Channel, ChannelID: a.Channel,
		ConnectionID215: a.ConnectionID, ConnectionID: a.ConnectionID, ClientID: a.ClientID, BundleID: a.Wish.BundleID,
		AccessToken: a.AccessToken, Connected: a.Counts.Connections,
		Metadata: a.Said, AuthMetadata: a.Said, TokenMetadata: a.Metadata,
		Grant: a.Wish, Multistream: true,
		Simulcast: is(a.Wish.Simulcast), Spotlight: is(a.Wish.Spotlight),
		DataChannelSignaling: is(a.Wish.DataChannelSignaling), IgnoreDisconnectWebSocket: is(a.Wish.IgnoreDisconnectWebSocket),
		WHIP: a.Protocol == "whip", WHEP: a.Protocol == "whep", Ayame: a.PeerToPeer(),
		SoraClient: readClient(a), Counts: a.Counts,
	}
	if len(a.Wish.ForwardingFilters) == 1 {
		q.ForwardingFilter = &a.Wish.ForwardingFilters[0]
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
	return q
}

// authRequest makes the signed request.
func (w *Webhooks) authRequest(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) (*http.Request, error) {
	if hook.Secret == "" {
		return nil, errors.New("the secret that signs its requests cannot be opened; replace it under Settings")
	}
	at := time.Now()
	q := w.question(a, at)
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
	return r, sign(r.Header, []string{hook.Secret}, q.ID, at, body)
}

// is reports whether a switch is on.
func is(on *bool) bool { return on != nil && *on }
