package main

import "strings"

// absentActions says of Sora's actions that are not here why, and what to do instead,
// by name without the version.
var absentActions = map[string]string{
	"UpdateLicense":                       "the licence is changed with POST /v1/licence/change, in the console, or by the operator",
	"BatchRequestSpotlightRid":            "ask with RequestSpotlightRid for each",
	"GetStatsReport":                      "the figures of a node are its operator's; yours are GET /v1/usage",
	"StartRecording":                      "there is no recording yet",
	"StopRecording":                       "there is no recording yet",
	"StartAudioStreaming":                 "there is no audio streaming",
	"StopAudioStreaming":                  "there is no audio streaming",
	"SubscribeAudioStreamingResultPush":   "there is no audio streaming",
	"UnsubscribeAudioStreamingResultPush": "there is no audio streaming",
	"ListAudioStreamingResultPushState":   "there is no audio streaming",
	"InitCluster":                         "nodes join by themselves, and are the operator's to look after",
	"RegisterClusterNode":                 "nodes join by themselves, and are the operator's to look after",
	"ListClusterNodes":                    "nodes are the operator's to look after",
	"ListForwardingFilters":               "forwarding filters come with the connection: in connect, the access token or the auth webhook's answer",
	"ForwardingFilters":                   "forwarding filters come with the connection: in connect, the access token or the auth webhook's answer",
	"CreateChannelForwardingFilter":       "forwarding filters come with the connection: in connect, the access token or the auth webhook's answer",
	"UpdateChannelForwardingFilter":       "forwarding filters come with the connection: in connect, the access token or the auth webhook's answer",
	"DeleteChannelForwardingFilter":       "forwarding filters come with the connection: in connect, the access token or the auth webhook's answer",
	"CreateConnectionForwardingFilter":    "forwarding filters come with the connection: in connect, the access token or the auth webhook's answer",
	"UpdateConnectionForwardingFilter":    "forwarding filters come with the connection: in connect, the access token or the auth webhook's answer",
	"DeleteConnectionForwardingFilter":    "forwarding filters come with the connection: in connect, the access token or the auth webhook's answer",
}

// absent says why one of Sora's actions is not here; "": it is none that is known.
func absent(target string) string {
	_, name, _ := strings.Cut(target, ".")
	if why := absentActions[name]; why != "" {
		return name + " is not here: " + why
	}
	return ""
}
