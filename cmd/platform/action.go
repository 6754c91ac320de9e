package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// The Action API: what a tenant's server asks of its live channels, as
// POST / with the action's name in x-sora-target. The 2015 targets speak of a
// clientId, which is our connection_id. What is done is package api's, where REST
// asks for the same; here it is put into Sora's words.

// The largest body an action may have.
const actionLimit = 64 << 10

// actionRequest holds the parameters of all actions, in both eras' words.
type actionRequest struct {
	ChannelID2015 string          `json:"channelId"`
	ClientID2015  string          `json:"clientId"`
	ChannelID     string          `json:"channel_id"`
	ConnectionID  string          `json:"connection_id"`
	ClientID      string          `json:"client_id"`
	SessionID     string          `json:"session_id"`
	Role          string          `json:"role"`
	Reason        json.RawMessage `json:"reason"`
	Data          json.RawMessage `json:"data"`

	// Of layers: both spellings are Sora's.
	Receiver         string `json:"receiver_connection_id"`
	Sender           string `json:"sender_connection_id"`
	Recv             string `json:"recv_connection_id"`
	Send             string `json:"send_connection_id"`
	RID              string `json:"rid"`
	SpotlightFocus   string `json:"spotlight_focus_rid"`
	SpotlightUnfocus string `json:"spotlight_unfocus_rid"`
	SpotlightNumber  int    `json:"spotlight_number"`

	// Of what notifications show.
	Metadata json.RawMessage `json:"metadata"`
	Key      string          `json:"key"`
	Value    json.RawMessage `json:"value"`
	Push     bool            `json:"push"`
}

func (a actionRequest) channel() string {
	if a.ChannelID != "" {
		return a.ChannelID
	}
	return a.ChannelID2015
}

func (a actionRequest) connection() string {
	if a.ConnectionID != "" {
		return a.ConnectionID
	}
	return a.ClientID2015
}

// needsChannel fails without a channel's name.
func (a actionRequest) needsChannel() error {
	if a.channel() == "" {
		return tenant.Refuse(tenant.BadMessage, "give the channel as channel_id (2015: channelId)")
	}
	return nil
}

// action is what a target does, and whose keys may.
type action struct {
	do    func(*platform, context.Context, tenant.Scope, actionRequest) (any, error)
	roles []tenant.MemberRole
}

// actions maps a target to its action.
var actions = map[string]action{
	"Sora_20151104.ListConnections":        {(*platform).listConnections2015, tenant.Watchers},
	"Sora_20201013.ListConnections":        {(*platform).listConnections, tenant.Watchers},
	"Sora_20201013.ListChannelConnections": {(*platform).listChannelConnections, tenant.Watchers},
	"Sora_20201013.ListChannels":           {(*platform).listChannels, tenant.Watchers},

	"Sora_20151104.Disconnect":              {(*platform).disconnect, tenant.Builders},
	"Sora_20151104.DisconnectConnection":    {(*platform).disconnect, tenant.Builders},
	"Sora_20151104.DisconnectClient":        {(*platform).disconnectClient, tenant.Builders},
	"Sora_20151104.DisconnectChannel":       {(*platform).disconnectChannel, tenant.Builders},
	"Sora_20201120.DisconnectChannelByRole": {(*platform).disconnectRole, tenant.Builders},

	"Sora_20160711.PushChannel":       {(*platform).pushChannel, tenant.Builders},
	"Sora_20160711.PushClient":        {(*platform).pushClient, tenant.Builders},
	"Sora_20160711.PushConnection":    {(*platform).pushConnection, tenant.Builders},
	"Sora_20201120.PushChannelByRole": {(*platform).pushRole, tenant.Builders},

	"Sora_20241218.RequestKeyFrame":       {(*platform).requestKeyFrame, tenant.Builders},
	"Sora_20251217.RequestSimulcastRid":   {(*platform).requestSimulcastRID, tenant.Builders},
	"Sora_20251210.RequestSimulcastRid":   {(*platform).requestSimulcastRID, tenant.Builders},
	"Sora_20200807.FocusSpotlightFixed":   {(*platform).focusFixed, tenant.Builders},
	"Sora_20200807.FocusSpotlight":        {(*platform).focus, tenant.Builders},
	"Sora_20200807.UnfocusSpotlight":      {(*platform).unfocus, tenant.Builders},
	"Sora_20200807.ChangeSpotlightNumber": {(*platform).changeSpotlightNumber, tenant.Builders},
	"Sora_20211215.RequestSpotlightRid":   {(*platform).requestSpotlightRID, tenant.Builders},
	"Sora_20211215.ResetSpotlightRid":     {(*platform).resetSpotlightRID, tenant.Builders},

	"Sora_20201124.PutSignalingNotifyMetadata":     {(*platform).putNotifyMetadata, tenant.Builders},
	"Sora_20201124.PutSignalingNotifyMetadataItem": {(*platform).putNotifyMetadataItem, tenant.Builders},

	"Sora_20231220.ListSessions":     {(*platform).listSessions, tenant.Watchers},
	"Sora_20231220.GetSession":       {(*platform).getSession, tenant.Watchers},
	"Sora_20230628.TerminateSession": {(*platform).terminateSession, tenant.Builders},

	"Sora_20170529.GetStatsConnection":     {(*platform).getStatsConnection, tenant.Watchers},
	"Sora_20170529.GetStatsClient":         {(*platform).getStatsClient, tenant.Watchers},
	"Sora_20171101.GetStatsAllConnections": {(*platform).listStats, tenant.Watchers},
	"Sora_20211215.ListRtcStats":           {(*platform).listRTCStats, tenant.Watchers},
	"Sora_20211215.ListChannelRtcStats":    {(*platform).listChannelRTCStats, tenant.Watchers},
	"Sora_20211215.GetRtcStats":            {(*platform).getRTCStats, tenant.Watchers},

	"Sora_20171218.GetLicense": {(*platform).getLicense, tenant.Everyone},
}

// action serves POST /.
func (p *platform) action(w http.ResponseWriter, r *http.Request, scope tenant.Scope) {
	asked, err := findAction(r.Header.Get("x-sora-target"))
	if err == nil {
		err = api.Allow(scope, asked.roles)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, actionLimit))
	if errors.As(err, new(*http.MaxBytesError)) {
		p.fail(w, r, tenant.Refuse(tenant.TooLarge, "an action's body has at most %d bytes", actionLimit))
		return
	}
	if err != nil {
		p.fail(w, r, tenant.Refuse(tenant.BadMessage, "the body could not be read to its end"))
		return
	}
	request, err := readAction(body, scope)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askLimit)
	defer cancel()
	answer, err := asked.do(p, ctx, scope, request)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	reply(w, answer)
}

// readAction reads an action's parameters. The error is a *tenant.Refusal.
func readAction(body []byte, scope tenant.Scope) (request actionRequest, err error) {
	if len(body) == 0 {
		return request, nil
	}
	if !utf8.Valid(body) || json.Unmarshal(body, &request) != nil {
		return request, tenant.Refuse(tenant.BadMessage, "the body must be a JSON object in UTF-8; names, ids, roles and rids are strings, spotlight_number is a number, push is true or false")
	}
	for _, text := range []string{request.ChannelID, request.ChannelID2015, request.ConnectionID, request.ClientID, request.ClientID2015, request.SessionID,
		request.Receiver, request.Sender, request.Recv, request.Send, request.Key} {
		if strings.Contains(text, "\x00") {
			return request, tenant.Refuse(tenant.BadMessage, `no name or id has \u0000 in it`)
		}
	}
	request.ChannelID, request.ChannelID2015 = scope.ChannelName(request.ChannelID), scope.ChannelName(request.ChannelID2015)
	return request, nil
}

// findAction returns what a target does. The error is a *tenant.Refusal that names
// those that look like it.
func findAction(target string) (action, error) {
	if asked, ok := actions[target]; ok {
		return asked, nil
	}
	if target == "" {
		return action{}, tenant.Refuse(tenant.BadMessage,
			"name the action in the header x-sora-target, such as Sora_20151104.ListConnections; docs/actions.md has all of them")
	}
	if why := absent(target); why != "" {
		return action{}, tenant.Refuse(tenant.BadMessage, "%s", why)
	}
	return action{}, tenant.Refuse(tenant.BadMessage, "there is no such action; did you mean %s?", strings.Join(near(target), ", "))
}

// nearMost is how many targets are proposed instead of one that there is not.
const nearMost = 3

// near returns the targets that are most like an unknown one.
func near(target string) []string {
	_, name, dotted := strings.Cut(target, ".")
	if !dotted {
		name = target
	}
	all := slices.Sorted(maps.Keys(actions))
	slices.SortStableFunc(all, func(a, b string) int {
		_, ofA, _ := strings.Cut(a, ".")
		_, ofB, _ := strings.Cut(b, ".")
		return distance(name, ofA) - distance(name, ofB)
	})
	return all[:nearMost]
}

// distance is how many letters must be changed, put in or left out to make one name of
// another, whatever their case (Levenshtein). Of a long name only the beginning counts.
func distance(a, b string) int {
	const most = 64
	a, b = strings.ToLower(a[:min(len(a), most)]), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
