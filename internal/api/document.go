package api

import (
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// securityScheme is what the document calls an API key in Authorization.
const securityScheme = "api_key"

// huma is what huma is told of the API as a whole. Its own pages of
// documentation would load scripts from elsewhere.
func (a *API) huma() huma.Config {
	c := huma.DefaultConfig("Hibari", a.Version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil // no $schema in every answer
	c.Info.Description = "REST for a tenant's server. Lists come in pages as {\"items\": […], \"next\": …}: ask again with cursor = next until next is null. " +
		"Errors are problem documents (RFC 9457) whose code is for programs. " +
		"A POST with an Idempotency-Key header may be sent again without being done twice."
	c.Servers = []*huma.Server{{URL: a.PublicURL}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{securityScheme: {
		Type: "http", Scheme: "bearer", BearerFormat: "hib_live_…",
		Description: "An API key. Members make them in the console, under Keys.",
	}}
	c.Tags = []*huma.Tag{
		{Name: "Tenant", Description: "Whose key it is."},
		{Name: "Connections", Description: "What is live, and how to end it."},
		{Name: "Webhooks", Description: "Where events are posted to, and how it goes."},
		{Name: "Events", Description: "What happened."},
		{Name: "Settings", Description: "What the tenant has set."},
		{Name: "Usage", Description: "What was used."},
		{Name: "Licence", Description: "How many connections there may be."},
		{Name: "Keys", Description: "Access tokens, and what they are signed with; API keys."},
		{Name: "Bans", Description: "Who may not come in."},
		{Name: "Members", Description: "Who may log in."},
		{Name: "Audit", Description: "Who did what."},
	}
	return c
}

// document writes the OpenAPI document.
func document(d *huma.OpenAPI) []byte {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		panic("api: the OpenAPI document can't be written: " + err.Error())
	}
	return text
}

// openAPI serves the document to everybody: it holds no secret.
func (a *API) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(a.document) // an error here is the caller's connection
}
