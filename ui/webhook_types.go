package ui

import (
	"slices"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// typeGroup are event types that are about the same thing.
type typeGroup struct {
	name  string
	types []typeChoice
}

// typeChoice is an event type and when such an event comes.
type typeChoice struct {
	name  tenant.EventType
	words string
}

// typeGroups are the types that this version writes; offering the others would
// promise what cannot come yet.
var typeGroups = []typeGroup{
	{"Connections", []typeChoice{
		{tenant.ConnectionConnecting, "a client got a place"},
		{tenant.ConnectionCreated, "its media connected"},
		{tenant.ConnectionUpdated, "each full minute; many, and only to who asks"},
		{tenant.ConnectionDestroyed, "it ended, with reason and minutes"},
		{tenant.ConnectionRejected, "a client was refused, or never connected"},
	}},
	{"Channels", []typeChoice{
		{tenant.ChannelStarted, "the first one came"},
		{tenant.ChannelEnded, "the last one left"},
	}},
	{"Account", []typeChoice{
		{tenant.LicenceThreshold, "80 % or all of the licence is in use"},
		{tenant.UsageThreshold, "50, 80 or 100 % of the spending cap, or the forecast reaches it"},
		{tenant.NodeDraining, "a node with connections of yours is being emptied"},
		{tenant.EndpointDisabled, "another endpoint failed, and was disabled"},
	}},
}

// offered are the groups, and a last one of types that an endpoint has already
// and that are in none: a form without their boxes would take them away.
func offered(chosen []string) []typeGroup {
	groups := slices.Clone(typeGroups)
	var others []typeChoice
	for _, name := range chosen {
		known := func(g typeGroup) bool {
			return slices.ContainsFunc(g.types, func(t typeChoice) bool { return string(t.name) == name })
		}
		if slices.Contains(webhooks.Types, name) && !slices.ContainsFunc(typeGroups, known) {
			others = append(others, typeChoice{tenant.EventType(name), "chosen over the API"})
		}
	}
	if len(others) > 0 {
		groups = append(groups, typeGroup{"Others", others})
	}
	return groups
}
