package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/sheet"
	"github.com/hibari/hibari/internal/tenant"
)

// operation is one thing a tenant's server can ask for.
type operation struct {
	method, path, id string
	roles            []tenant.MemberRole // whose keys may
	tag              string
	text             string // the summary, up to the first full stop, and more
	status           int    // of success
	serve            func(huma.API, huma.Operation)
}

// table lists every operation.
func (a *API) table() []operation {
	return []operation{
		{"GET", "/v1/tenant", "getTenant", tenant.Everyone, "Tenant",
			"Read the tenant. Says whose API key it is, and what the key may do.", 200, one(a.getTenant)},

		{"GET", "/v1/channels", "listChannels", tenant.Watchers, "Connections",
			"List the live channels. By name; a channel is live from its first connection to its last.", 200, one(a.listChannels)},
		{"DELETE", "/v1/channels/{channel}/connections", "disconnectChannel", tenant.Builders, "Connections",
			"End connections of a channel. All, or those of a role or a client. With ban=token the access tokens they came with are barred first.", 200, one(a.disconnectChannel)},
		{"POST", "/v1/channels/{channel}/push", "pushChannel", tenant.Builders, "Connections",
			"Push JSON to the clients of a channel. To all, or to those of a role or a client. Sora's SDKs hand it to the application (push). Clients of WHIP, WHEP, the dialect of 2015 and peer-to-peer calls have no way for it, and are counted.", 200, one(a.pushChannel)},
		{"GET", "/v1/connections", "listConnections", tenant.Watchers, "Connections",
			"List the live connections. Newest first; those that are still connecting included.", 200, one(a.listConnections)},
		{"GET", "/v1/connections/{connection_id}", "getConnection", tenant.Watchers, "Connections",
			"Read a connection. Also one that has ended.", 200, one(a.getConnection)},
		{"DELETE", "/v1/connections/{connection_id}", "disconnectConnection", tenant.Builders, "Connections",
			"End a connection. With ban=token the access token it came with is barred first, so that its client cannot come back with it. One that has ended already is not found. 202: the command to its node is durable, and not confirmed yet.", 204, ending(a.disconnectConnection)},
		{"POST", "/v1/connections/{connection_id}/push", "pushConnection", tenant.Builders, "Connections",
			"Push JSON to a client. As to those of a channel; 409 for one that came by a protocol without a way for it.", 200, one(a.pushConnection)},
		{"POST", "/v1/connections/{connection_id}/request-key-frame", "requestKeyFrame", tenant.Builders, "Connections",
			"Ask a publisher for a key frame. At once, of each layer of its video that is flowing. 409 for one that sends none.", 200, one(a.requestKeyFrame)},
		{"POST", "/v1/connections/{connection_id}/request-simulcast-rid", "requestSimulcastRid", tenant.Builders, "Connections",
			"Choose the layer that a viewer gets of publishers with simulcast.", 200, one(a.requestSimulcastRID)},
		{"POST", "/v1/connections/{connection_id}/request-spotlight-rid", "requestSpotlightRid", tenant.Builders, "Connections",
			"Choose the layers that a viewer gets of who is in the spotlight and who is not. 409 for a connection without a spotlight.", 200, one(a.requestSpotlightRID)},
		{"POST", "/v1/connections/{connection_id}/reset-spotlight-rid", "resetSpotlightRid", tenant.Builders, "Connections",
			"Take back what was chosen with request-spotlight-rid.", 200, one(a.resetSpotlightRID)},
		{"POST", "/v1/connections/{connection_id}/focus", "focusSpotlight", tenant.Builders, "Connections",
			"Bring a publisher into the spotlight. 409 for one that takes no part in it, or if every place is fixed.", 200, one(a.focus)},
		{"POST", "/v1/connections/{connection_id}/unfocus", "unfocusSpotlight", tenant.Builders, "Connections",
			"Take a publisher out of the spotlight. Also one that was fixed there; it comes back when it speaks anew.", 200, one(a.unfocus)},
		{"PATCH", "/v1/channels/{channel}/spotlight", "changeSpotlight", tenant.Builders, "Connections",
			"Change how many may be in a channel's spotlight. Until the channel ends.", 200, one(a.changeSpotlight)},
		{"POST", "/v1/connections/{connection_id}/notify-metadata", "putNotifyMetadata", tenant.Builders, "Connections",
			"Change the metadata that notifications show of a connection. All of it, or one item. Whoever joins from then on is shown it.", 200, one(a.putNotifyMetadata)},

		{"GET", "/v1/sessions", "listSessions", tenant.Watchers, "Connections",
			"List the sessions. Newest first: those that are live, or all of a channel. A session is one continuous life of a channel.", 200, one(a.listSessions)},
		{"GET", "/v1/sessions/{session_id}", "getSession", tenant.Watchers, "Connections",
			"Read a session. Also one that has ended.", 200, one(a.getSession)},
		{"DELETE", "/v1/sessions/{session_id}", "terminateSession", tenant.Builders, "Connections",
			"Terminate a session. All its connections are ended, and with the last of them it. Who comes back to the channel begins a new one. One that has ended already is not found.", 200, one(a.terminateSession)},

		{"GET", "/v1/connections/{connection_id}/stats", "getConnectionStats", tenant.Watchers, "Statistics",
			"Read a connection's statistics. Bytes, packets, loss, jitter, round trip and layers, in intervals of ten seconds or longer, of the last 24 hours; also of a connection that has ended.", 200, one(a.getConnectionStats)},
		{"GET", "/v1/connections/{connection_id}/rtc-stats", "getClientReport", tenant.Watchers, "Statistics",
			"Read what a client reports of itself. The newest RTCStats of a live connection, as its browser or SDK sent them; clients are asked each minute.", 200, one(a.getClientReport)},
		{"GET", "/v1/channels/{channel}/stats", "listChannelStats", tenant.Watchers, "Statistics",
			"List the newest statistics of a channel's connections. By connection id: the last ten seconds, and in all.", 200, one(a.listChannelStats)},

		{"GET", "/v1/webhook-endpoints", "listWebhookEndpoints", tenant.Watchers, "Webhooks",
			"List the webhook endpoints. Oldest first.", 200, one(a.listEndpoints)},
		{"POST", "/v1/webhook-endpoints", "createWebhookEndpoint", tenant.Builders, "Webhooks",
			"Add a webhook endpoint. It gets the events after now. The secret that requests are signed with (Standard Webhooks) is in this answer only.", 201, one(a.createEndpoint)},
		{"GET", "/v1/webhook-endpoints/{id}", "getWebhookEndpoint", tenant.Watchers, "Webhooks",
			"Read a webhook endpoint.", 200, one(a.getEndpoint)},
		{"PATCH", "/v1/webhook-endpoints/{id}", "changeWebhookEndpoint", tenant.Builders, "Webhooks",
			"Change a webhook endpoint. What is left out stays. Other types and another channel_prefix count from the event filter_from_seq on. An endpoint that is enabled again gets what it had not been sent when it was disabled, then the events after now.", 200, one(a.changeEndpoint)},
		{"DELETE", "/v1/webhook-endpoints/{id}", "deleteWebhookEndpoint", tenant.Builders, "Webhooks",
			"Delete a webhook endpoint. The log of its deliveries goes with it.", 204, nothing(a.deleteEndpoint)},
		{"POST", "/v1/webhook-endpoints/{id}/rotate-secret", "rotateWebhookSecret", tenant.Builders, "Webhooks",
			"Replace a webhook endpoint's secret. Requests from now on are signed with the new one, which is in this answer only, and for overlap_seconds with the old one too. A second rotation within that time forgets the older one.", 200, one(a.rotateSecret)},
		{"DELETE", "/v1/webhook-endpoints/{id}/previous-secret", "endSecretOverlap", tenant.Builders, "Webhooks",
			"Forget a webhook endpoint's old secret. Now, instead of at previous_secret_until.", 204, nothing(a.endOverlap)},
		{"POST", "/v1/webhook-endpoints/{id}/test", "testWebhookEndpoint", tenant.Builders, "Webhooks",
			"Send a test event to a webhook endpoint. To it alone: a ping, or an example of another type with \"test\": true in its data. The delivery returned tells how it goes.", 202, one(a.testEndpoint)},
		{"GET", "/v1/webhook-endpoints/{id}/health", "getWebhookHealth", tenant.Watchers, "Webhooks",
			"Read how a webhook endpoint does. Its lag now, and over time the delays of its deliveries and how many attempts failed.", 200, one(a.endpointPerformance)},
		{"GET", "/v1/webhook-endpoints/{id}/deliveries", "listDeliveries", tenant.Watchers, "Webhooks",
			"List an endpoint's deliveries. Newest first; of one state, type, channel, connection, answer or time.", 200, one(a.listDeliveries)},
		{"POST", "/v1/webhook-endpoints/{id}/replay", "replayEvents", tenant.Builders, "Webhooks",
			"Send a range of events to an endpoint once more. In the background, after whatever is live; outside the order of connections. The ids of the events stay. Five may run at once.", 202, one(a.replayRange)},
		{"POST", "/v1/webhook-endpoints/{id}/replay/preview", "previewReplay", tenant.Builders, "Webhooks",
			"Count what a replay would send. Of the first 100,000 events of the range.", 200, one(a.previewReplay)},
		{"GET", "/v1/webhook-endpoints/{id}/replays", "listReplays", tenant.Watchers, "Webhooks",
			"List an endpoint's replays. Newest first; they are kept for 30 days.", 200, one(a.listReplays)},
		{"GET", "/v1/replays/{id}", "getReplay", tenant.Watchers, "Webhooks",
			"Read a replay. How far it is.", 200, one(a.getReplay)},
		{"POST", "/v1/replays/{id}/cancel", "cancelReplay", tenant.Builders, "Webhooks",
			"Cancel a replay. What is not on its way by then, at most 100 events, is not sent.", 200, one(a.cancelReplay)},
		{"GET", "/v1/deliveries/{id}", "getDelivery", tenant.Watchers, "Webhooks",
			"Read a delivery. With the event as it is posted, and every attempt: when, to which address, both headers, the first 4 KiB of the answer, and where the time went.", 200, one(a.getDelivery)},
		{"POST", "/v1/deliveries/{id}/replay", "replayDelivery", tenant.Builders, "Webhooks",
			"Send the event of a delivery once more. Outside the order of its connection; the event's id stays.", 202, one(a.replayDelivery)},

		{"GET", "/v1/events", "listEvents", tenant.Watchers, "Events",
			"List events. In order of seq, which has no gaps. To follow them, ask again with after = the last seq you have; GET /stream does it over a WebSocket.", 200, one(a.listEvents)},

		{"GET", "/v1/settings", "getSettings", tenant.Builders, "Settings",
			"Read the settings.", 200, one(a.getSettings)},
		{"PATCH", "/v1/settings", "changeSettings", tenant.Builders, "Settings",
			"Change settings. What is left out stays. spend_cap is for the role admin. A first auth_url makes the secret that its questions are signed with, which is in this answer only.", 200, one(a.changeSettings)},
		{"POST", "/v1/settings/rotate-auth-secret", "rotateAuthSecret", tenant.Builders, "Settings",
			"Replace the auth webhook's secret. Questions from now on are signed with the new one, which is in this answer only.", 200, one(a.rotateAuthSecret)},
		{"POST", "/v1/settings/test-auth-webhook", "testAuthWebhook", tenant.Builders, "Settings",
			"Ask the auth webhook a test question. About a client that is not there. Says what the server answered, and what would come of it.", 200, one(a.testAuthWebhook)},
		{"GET", "/v1/auth-attempts", "listAuthAttempts", tenant.Watchers, "Auth webhook",
			"List the questions to the auth webhook. Newest first, of the last 14 days, with what came of them.", 200, one(a.listAuthAttempts)},
		{"GET", "/v1/auth-attempts/{id}", "getAuthAttempt", tenant.Watchers, "Auth webhook",
			"Read a question to the auth webhook.", 200, one(a.getAuthAttempt)},

		{"GET", "/v1/usage", "getUsage", tenant.Everyone, "Usage",
			"Read the usage of a time. Times, channels and roles without use have no item. Adjoining times add up exactly. With Accept: text/csv or application/jsonl all items come as a file.", 200, export(a, billing.UsageColumns, a.getUsage)},
		{"GET", "/v1/segments", "listSegments", tenant.Everyone, "Usage",
			"List the segments that usage is the sum of. One for each connection whose media connected, in the order in which they did, with what of it belongs to the time asked for: all of them add up to the usage of that time, in every column. With Accept: text/csv or application/jsonl all come as a file, however many.", 200, export(a, billing.SegmentColumns, a.listSegments)},
		{"GET", "/v1/spend", "getSpend", tenant.Everyone, "Spending",
			"Read what is spent. In the billing period that is running, what it will come to, and the cap.", 200, one(a.getSpend)},
		{"POST", "/v1/spend/cap", "setSpendCap", tenant.Payers, "Spending",
			"Set the spending cap. In place of the one there is. A higher one lets clients in again at once.", 200, one(a.setSpendCap)},
		{"DELETE", "/v1/spend/cap", "dropSpendCap", tenant.Payers, "Spending",
			"Take the spending cap away.", 204, nothing(a.dropSpendCap)},
		{"GET", "/v1/plan", "getPlan", tenant.Everyone, "Licence",
			"Read the plan. By which prices the tenant is billed, now and from which day on else.", 200, one(a.getPlan)},
		{"GET", "/v1/licence", "getLicence", tenant.Everyone, "Licence",
			"Read the licence. How many connections the tenant has and may have at once, until when, and what follows.", 200, one(a.getLicence)},
		{"GET", "/v1/licence/history", "listLicences", tenant.Everyone, "Licence",
			"List the licences. Newest first, with what is scheduled; they have neither gap nor overlap.", 200, one(a.listLicences)},
		{"GET", "/v1/licence/peaks", "listPeaks", tenant.Everyone, "Licence",
			"List the peaks. The most connections at once in each hour, oldest first.", 200, one(a.listPeaks)},
		{"GET", "/v1/licence/quote", "quoteLicence", tenant.Everyone, "Licence",
			"Ask what a change of licence would mean. When, and for how much. It changes nothing.", 200, one(a.quoteLicence)},
		{"POST", "/v1/licence/change", "changeLicence", tenant.Payers, "Licence",
			"Change the licence. More connections at once, fewer at the end of the year that is paid for. What was scheduled before is dropped.", 200, one(a.changeLicence)},
		{"DELETE", "/v1/licence/change", "cancelLicenceChange", tenant.Payers, "Licence",
			"Call off what is scheduled. The licence is then renewed as it is.", 204, nothing(a.cancelLicenceChange)},

		{"GET", "/v1/invoices", "listInvoices", tenant.Payers, "Invoices",
			"List the invoices. Newest first, without their lines; drafts are not among them.", 200, one(a.listInvoices)},
		{"GET", "/v1/invoices/{id}", "getInvoice", tenant.Payers, "Invoices",
			"Read an invoice. With its lines, each with everything it was computed from, and the credit notes that correct it.", 200, one(a.getInvoice)},
		{"GET", "/v1/invoices/{id}/lines/{line}/segments", "listInvoiceSegments", tenant.Payers, "Invoices",
			"List the connections of an invoice's line. With what each of them adds to it: together they are the line's usage, in every column.", 200, one(a.listInvoiceSegments)},
		{"GET", "/v1/invoices/{id}/pdf", "getInvoicePDF", tenant.Payers, "Invoices",
			"Read an invoice as PDF. In Japanese and English.", 200, filed(pdfType, pdfType, a.getInvoicePDF)},
		{"GET", "/v1/invoices/{id}/csv", "getInvoiceCSV", tenant.Payers, "Invoices",
			"Read an invoice as CSV. A row for each line, then one for the tax of each rate: the column amount sums to the total.", 200, filed(sheet.MediaType, sheet.ContentType, a.getInvoiceCSV)},
		{"GET", "/v1/credit-notes", "listCreditNotes", tenant.Payers, "Invoices",
			"List the credit notes. Newest first.", 200, one(a.listCreditNotes)},
		{"GET", "/v1/credit-notes/{id}", "getCreditNote", tenant.Payers, "Invoices",
			"Read a credit note. What has been taken off an invoice after it was issued.", 200, one(a.getCreditNote)},
		{"GET", "/v1/credit-notes/{id}/pdf", "getCreditNotePDF", tenant.Payers, "Invoices",
			"Read a credit note as PDF. In Japanese and English.", 200, filed(pdfType, pdfType, a.getCreditNotePDF)},
		{"GET", "/v1/credit", "getCredit", tenant.Payers, "Invoices",
			"Read the prepaid credit. By currency; it is taken off the next invoice when that becomes final.", 200, one(a.getCredit)},
		{"GET", "/v1/billing-details", "getBillingDetails", tenant.Payers, "Invoices",
			"Read the billing details. Whom invoices are made out to.", 200, one(a.getBillingDetails)},
		{"PATCH", "/v1/billing-details", "changeBillingDetails", tenant.Payers, "Invoices",
			"Change the billing details. What is left out stays. They count for invoices from now on; those that were issued stay as they are.", 200, one(a.changeBillingDetails)},

		{"POST", "/v1/access-tokens", "createAccessToken", tenant.Builders, "Keys",
			"Sign an access token for a client. With the tenant's newest HS256 key. The token is in this answer only.", 201, one(a.createAccessToken)},
		{"GET", "/v1/signing-keys", "listSigningKeys", tenant.Builders, "Keys",
			"List the signing keys. Newest first, revoked ones too.", 200, one(a.listSigningKeys)},
		{"POST", "/v1/signing-keys", "createSigningKey", tenant.Builders, "Keys",
			"Make a signing key. Without public_key an HS256 secret is made, which is in this answer only; with it the key is ES256 or EdDSA. A key that is replaced stays good until it is revoked, or until retire_at.", 201, one(a.createSigningKey)},
		{"PATCH", "/v1/signing-keys/{id}", "retireSigningKey", tenant.Builders, "Keys",
			"Set when a signing key stops by itself.", 200, one(a.retireSigningKey)},
		{"DELETE", "/v1/signing-keys/{id}", "revokeSigningKey", tenant.Builders, "Keys",
			"Revoke a signing key. Tokens signed with it are refused within seconds; who is connected stays.", 204, nothing(a.revokeSigningKey)},
		{"GET", "/v1/api-keys", "listAPIKeys", tenant.Builders, "Keys",
			"List the API keys. Newest first, revoked ones too.", 200, one(a.listAPIKeys)},
		{"POST", "/v1/api-keys", "createAPIKey", tenant.Builders, "Keys",
			"Make an API key. Of the asking key's role, or of one that may do less. The key is in this answer only.", 201, one(a.createAPIKey)},
		{"DELETE", "/v1/api-keys/{id}", "revokeAPIKey", tenant.Builders, "Keys",
			"Revoke an API key. Requests with it are refused within seconds.", 204, nothing(a.revokeAPIKey)},

		{"GET", "/v1/bans", "listBans", tenant.Builders, "Bans",
			"List the bans. Newest first; those that have expired or were lifted are gone.", 200, one(a.listBans)},
		{"POST", "/v1/bans", "createBan", tenant.Builders, "Bans",
			"Ban a token, client, channel or connection. Who is barred is refused at every door, in every process within a second, and ended if in. What is barred already is barred for longer, never shorter, by the same ban.", 201, one(a.createBan)},
		{"DELETE", "/v1/bans/{id}", "liftBan", tenant.Builders, "Bans",
			"Lift a ban.", 204, nothing(a.liftBan)},

		{"GET", "/v1/members", "listMembers", tenant.Keepers, "Members",
			"List the members. Oldest first.", 200, one(a.listMembers)},
		{"PATCH", "/v1/members/{member_id}", "changeMember", tenant.Keepers, "Members",
			"Give a member another role. None above that of who asks. Their sessions end: they have it with the next log-in.", 200, one(a.changeMember)},
		{"DELETE", "/v1/members/{member_id}", "removeMember", tenant.Keepers, "Members",
			"Remove a member. They are logged out everywhere at once. Keys they made go on working.", 204, nothing(a.removeMember)},
		{"POST", "/v1/members/{member_id}/reset-second-step", "resetSecondStep", tenant.Keepers, "Members",
			"Turn a member's second step off. For somebody who has lost phone and recovery codes: make sure that it is them who asks. Their sessions end. Who has none is not found.", 200, one(a.resetSecondStep)},
		{"GET", "/v1/invitations", "listInvitations", tenant.Keepers, "Members",
			"List the open invitations. Oldest first; those whose link has expired are among them for 30 days.", 200, one(a.listInvitations)},
		{"POST", "/v1/invitations", "createInvitation", tenant.Keepers, "Members",
			"Invite an address. With a role that is not above that of who asks. A second invitation of an address replaces the first. Where the platform sends no mail, the link is in this answer only.", 201, one(a.invite)},
		{"POST", "/v1/invitations/{id}/resend", "resendInvitation", tenant.Keepers, "Members",
			"Send an invitation again. With a new link, which works for a week; the one before works no longer.", 200, one(a.inviteAgain)},
		{"DELETE", "/v1/invitations/{id}", "cancelInvitation", tenant.Keepers, "Members",
			"Cancel an invitation. Its link works no longer.", 204, nothing(a.cancelInvitation)},
		{"GET", "/v1/audit-log", "listAuditLog", tenant.Keepers, "Audit",
			"List the audit log. Newest first.", 200, one(a.listAudit)},
	}
}

// huma describes the operation to huma.
func (o operation) huma() huma.Operation {
	summary, _, _ := strings.Cut(o.text, ".")
	var roles []string
	for _, role := range o.roles {
		roles = append(roles, string(role))
	}
	var parameters []*huma.Param
	if o.method == http.MethodPost {
		parameters = []*huma.Param{{
			Name: idempotencyHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString, MinLength: new(1), MaxLength: new(maxIdempotencyKey)},
			Description: "A new key for each request, such as a UUID: sent again with it, the request is not done twice, and gets the same answer for 24 hours.",
			Example:     "8e03978e-40d5-43dd-bc93-6894a57f9324",
		}}
	}
	return huma.Operation{
		Parameters: parameters,
		Method:     o.method, Path: o.path, OperationID: o.id, DefaultStatus: o.status, Tags: []string{o.tag},
		Summary:                      summary,
		Description:                  o.text + "\n\nFor API keys of these roles: " + strings.Join(roles, ", ") + ".",
		Security:                     []map[string][]string{{securityScheme: {}}},
		RejectUnknownQueryParameters: true,
		Errors:                       o.errors(),
	}
}

// errors are the statuses that the operation may fail with, besides those that
// huma adds.
func (o operation) errors() []int {
	statuses := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable}
	if strings.Contains(o.path, "{") || o.id == "rotateAuthSecret" || o.id == "testAuthWebhook" || o.id == "createBan" || o.id == "createSigningKey" || strings.HasSuffix(o.path, "/licence/change") || strings.HasSuffix(o.path, "/licence") || strings.HasSuffix(o.path, "/quote") {
		statuses = append(statuses, http.StatusNotFound)
	}
	if o.method == http.MethodPost {
		statuses = append(statuses, http.StatusConflict)
	}
	if o.id == "listEvents" {
		statuses = append(statuses, http.StatusGone)
	}
	return statuses
}

// body is an answer of one JSON document.
type body[T any] struct{ Body T }

// one makes an operation of a method that answers with a document.
func one[I, T any](answer func(context.Context, tenant.Scope, *I) (T, error)) func(huma.API, huma.Operation) {
	return func(described huma.API, o huma.Operation) {
		huma.Register(described, o, func(ctx context.Context, in *I) (*body[T], error) {
			asking := askingOf(ctx)
			out, err := answer(ctx, asking.scope, in)
			if err != nil {
				return nil, asking.told(err)
			}
			return &body[T]{out}, nil
		})
	}
}

// nothing makes an operation of a method that has no more to say than that it
// is done.
func nothing[I any](do func(context.Context, tenant.Scope, *I) error) func(huma.API, huma.Operation) {
	return func(described huma.API, o huma.Operation) {
		huma.Register(described, o, func(ctx context.Context, in *I) (*struct{}, error) {
			asking := askingOf(ctx)
			if err := do(ctx, asking.scope, in); err != nil {
				return nil, asking.told(err)
			}
			return nil, nil
		})
	}
}

// ending makes an operation of a method that ends a connection.
func ending[I any](end func(context.Context, tenant.Scope, *I) (*endedOne, error)) func(huma.API, huma.Operation) {
	return func(described huma.API, o huma.Operation) {
		o.Responses = map[string]*huma.Response{"204": {Description: http.StatusText(http.StatusNoContent)}}
		o.DefaultStatus = http.StatusAccepted // the one with a body
		huma.Register(described, o, func(ctx context.Context, in *I) (*endedOne, error) {
			asking := askingOf(ctx)
			out, err := end(ctx, asking.scope, in)
			if err != nil {
				return nil, asking.told(err)
			}
			return out, nil
		})
	}
}

// none is the input of an operation without any.
type none struct{}
