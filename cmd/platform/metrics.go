package main

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hibari/hibari/internal/webhooks"
)

// metrics serves the process's figures for Prometheus. They are sums over all
// tenants: no label names a tenant, a channel or a connection.
func (p *platform) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		figures{p},
	)
	// A compressor of Go's needs 800 kB, as much as ten viewers, to save ten.
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
}

// figures collects from the parts when it is asked, so that the parts need
// not know Prometheus.
type figures struct{ *platform }

// The figures, by part.
var (
	figConnections = prometheus.NewDesc("hibari_connections", "Connections on this node, peer-to-peer ones included.", nil, nil)
	figChannels    = prometheus.NewDesc("hibari_channels", "Channels on this node.", nil, nil)
	figPeers       = prometheus.NewDesc("hibari_peer_connections", "Connections of peer-to-peer calls among them.", nil, nil)
	figPacketsIn   = prometheus.NewDesc("hibari_rtp_packets_received_total", "RTP packets taken from publishers.", nil, nil)
	figForwarded   = prometheus.NewDesc("hibari_rtp_packets_sent_total", "RTP packets sent to viewers, resends included.", nil, nil)
	figResent      = prometheus.NewDesc("hibari_rtp_packets_resent_total", "RTP packets sent again because a viewer asked.", nil, nil)
	figTrains      = prometheus.NewDesc("hibari_rtp_trains_total", "Messages handed to the kernel; packets sent over trains is the mean train.", nil, nil)
	figCalls       = prometheus.NewDesc("hibari_send_calls_total", "System calls that sent media; calls over packets sent is what a packet costs.", nil, nil)
	figKeys        = prometheus.NewDesc("hibari_key_frame_requests_total", "Key frames asked of publishers.", nil, nil)
	figDrops       = prometheus.NewDesc("hibari_rtp_packets_dropped_total", "RTP packets not forwarded, by reason.", []string{"reason"}, nil)
	figShed        = prometheus.NewDesc("hibari_video_frames_shed_total", "Video frames dropped for the viewers that they had not reached in time.", nil, nil)
	figChanges     = prometheus.NewDesc("hibari_metadata_changes_refused_total", "Changes of notification metadata refused because they were too many.", nil, nil)
	figPushes      = prometheus.NewDesc("hibari_pushes_refused_total", "Pushes of tenants' servers refused because they were too many for their channel.", nil, nil)
	figPushDrops   = prometheus.NewDesc("hibari_pushes_dropped_total", "Pushes not sent to a client that has left too much unread.", nil, nil)
	figKeyAsks     = prometheus.NewDesc("hibari_key_frame_asks_refused_total", "Key frames that tenants' servers asked for and that were refused because they were too many.", nil, nil)
	figLateOrders  = prometheus.NewDesc("hibari_orders_expired_total", "Orders of other nodes, such as pushes, that were too old when this node came to them.", nil, nil)
	figOverloaded  = prometheus.NewDesc("hibari_overloaded", "1 while the media plane had to drop video within the last seconds.", nil, nil)

	figTransport    = prometheus.NewDesc("hibari_datagrams_dropped_total", "Datagrams dropped at the media port, by reason.", []string{"reason"}, nil)
	figBroken       = prometheus.NewDesc("hibari_channels_broken_total", "Channels that were ended because their worker broke, by cause.", []string{"cause"}, nil)
	figNoTrains     = prometheus.NewDesc("hibari_trains_refused_total", "Trains the kernel refused, sent packet by packet.", nil, nil)
	figRegained     = prometheus.NewDesc("hibari_trains_regained_total", "Routes that refused trains and took one again.", nil, nil)
	figSingle       = prometheus.NewDesc("hibari_routes_single", "Clients whose route refuses trains now.", nil, nil)
	figHandshakes   = prometheus.NewDesc("hibari_dtls_handshakes_total", "DTLS handshakes that succeeded, by the SRTP profile agreed on.", []string{"profile"}, nil)
	figCertificates = prometheus.NewDesc("hibari_dtls_certificates_total", "DTLS certificates made; each serves the clients that come in its time.", nil, nil)

	figMessages     = prometheus.NewDesc("hibari_data_messages_total", "Messages of data channels, by direction: in from clients, out to them.", []string{"direction"}, nil)
	figMessageBytes = prometheus.NewDesc("hibari_data_bytes_total", "Bytes of these messages.", []string{"direction"}, nil)
	figMessageDrops = prometheus.NewDesc("hibari_data_messages_dropped_total", "Messages of data channels not sent on, once for each client that did not get them, by reason.", []string{"reason"}, nil)
	figStrays       = prometheus.NewDesc("hibari_data_channels_refused_total", "Data channels that clients opened by themselves.", nil, nil)

	figUsageDrift  = prometheus.NewDesc("hibari_usage_drift", "Tenants whose roll-ups of usage are not the sum of their connections, as last added up: 0, or a bug.", nil, nil)
	figInvoices    = prometheus.NewDesc("hibari_invoices_total", "What this node did with billing periods and invoices, by step: closed (a period), drafted, finalised.", []string{"step"}, nil)
	figBillFailed  = prometheus.NewDesc("hibari_invoice_failures_total", "Rounds in which a billing period could not be closed or a draft not be made final; the next one tries again.", nil, nil)
	figBillOverdue = prometheus.NewDesc("hibari_invoice_drafts_overdue", "Drafts of all tenants that should be final, as last looked: held, or nobody has said who issues invoices.", nil, nil)
	figDrift       = prometheus.NewDesc("hibari_licence_drift", "Counts of licence places that the last recount found wrong: 0, or a bug.", nil, nil)
	figSpendLooks  = prometheus.NewDesc("hibari_spend_looks_total", "Looks at what a tenant spends, to compare it with its cap, by outcome.", []string{"outcome"}, nil)
	figUntold      = prometheus.NewDesc("hibari_rejected_events_dropped_total", "Refused connects that were too many to be written as events.", nil, nil)
	figAttempts    = prometheus.NewDesc("hibari_webhook_attempts_total", "Attempts to deliver a webhook, by outcome.", []string{"outcome"}, nil)
	figFailures    = prometheus.NewDesc("hibari_webhook_failures_total", "Attempts to deliver a webhook that failed, by class.", []string{"class"}, nil)
	figMails       = prometheus.NewDesc("hibari_mails_total", "Mails to people, by outcome: sent, failed (and tried again), dropped.", []string{"outcome"}, nil)
	figDisabled    = prometheus.NewDesc("hibari_webhook_endpoints_disabled_total", "Webhook endpoints disabled by the platform.", nil, nil)
	figBreakers    = prometheus.NewDesc("hibari_webhook_breakers_opened_total", "Breakers of webhook endpoints that opened.", nil, nil)
	figAuth        = prometheus.NewDesc("hibari_auth_webhooks_total", "Questions to tenants' auth webhooks, by outcome.", []string{"outcome"}, nil)
	figAuthTook    = prometheus.NewDesc("hibari_auth_webhook_seconds", "How long clients waited for their tenant's auth webhook.", nil, nil)
	figAuthOpen    = prometheus.NewDesc("hibari_auth_webhooks_open", "Tenants whose auth webhook does not answer, so that this node asks it once a second at most.", nil, nil)
	figAuthUnsaid  = prometheus.NewDesc("hibari_auth_log_dropped_total", "Questions to auth webhooks that found no room in their log.", nil, nil)
	figSlowStreams = prometheus.NewDesc("hibari_streams_slow_total", "Streams closed because their reader did not keep up.", nil, nil)
	figStreams     = prometheus.NewDesc("hibari_streams", "Event streams open on this node.", nil, nil)
	figDeadStreams = prometheus.NewDesc("hibari_streams_dead_total", "Streams ended because their reader was not there any more.", nil, nil)
	figStreamed    = prometheus.NewDesc("hibari_stream_events_total", "Events written to streams, once for each stream.", nil, nil)
	figFeedReads   = prometheus.NewDesc("hibari_stream_reads_total", "Reads of events from the database: shared by all streams of a tenant, or own, of one that was behind.", []string{"kind"}, nil)
	figStreamsOver = prometheus.NewDesc("hibari_streams_refused_total", "Streams refused because their tenant, or all together, had too many open at this node.", nil, nil)
	figRequests    = prometheus.NewDesc("hibari_requests_refused_total", "Requests of members and tenants' servers refused because too many of the tenant were under way at this node, or came too fast.", nil, nil)
	figExports     = prometheus.NewDesc("hibari_exports_refused_total", "Files refused because their tenant had too many on their way from this node.", nil, nil)
	figLivePages   = prometheus.NewDesc("hibari_live_pages_refused_total", "Live pages refused because their tenant had too many open at this node.", nil, nil)
	figSockets     = prometheus.NewDesc("hibari_signaling_sockets", "Open signalling WebSockets.", nil, nil)
	figWishes      = prometheus.NewDesc("hibari_whip_requests_total", "Requests of WHIP and WHEP clients, by protocol, method and status.", []string{"protocol", "method", "status"}, nil)
	figSessions    = prometheus.NewDesc("hibari_whip_sessions", "WHIP and WHEP sessions on this node.", nil, nil)
	figOpen        = prometheus.NewDesc("hibari_http_connections", "Open connections of the HTTP port.", nil, nil)
	figTurned      = prometheus.NewDesc("hibari_http_connections_refused_total", "Connections closed at once because too many were open.", nil, nil)
	figUnsettled   = prometheus.NewDesc("hibari_ledger_unsettled", "Connections whose end the ledger has not taken yet, the living included.", nil, nil)
	figRefused     = prometheus.NewDesc("hibari_refused_total", "Clients refused, by code.", []string{"code"}, nil)
	figAPILimited  = prometheus.NewDesc("hibari_api_rate_limited_total", "Requests under /v1 refused because their tenant made too many.", nil, nil)
	figRedirected  = prometheus.NewDesc("hibari_redirected_total", "Clients sent to the node that has their channel.", nil, nil)
	figAway        = prometheus.NewDesc("hibari_database_away", "1 while the database does not answer this node.", nil, nil)
	figOwed        = prometheus.NewDesc("hibari_ledger_owed_connections", "Connections admitted while the database was away that it does not have yet.", nil, nil)
	figEntries     = prometheus.NewDesc("hibari_ledger_owed_entries", "Steps in connections' lives that the database does not have yet.", nil, nil)
	figLenient     = prometheus.NewDesc("hibari_lenient_admissions_total", "Connections admitted while the database was away.", nil, nil)
	figTurnedAway  = prometheus.NewDesc("hibari_database_away_refused_total", "Clients refused because the database was away: their channel did not live on this node, or too much was owed.", nil, nil)
	figHooksOpen   = prometheus.NewDesc("hibari_webhooks_in_flight", "Requests to webhook endpoints under way.", nil, nil)
	figHooksDue    = prometheus.NewDesc("hibari_webhooks_waiting", "Due deliveries in this process that wait for a slot.", nil, nil)
	figHooksLag    = prometheus.NewDesc("hibari_webhooks_lag_seconds", "For how long the oldest of the waiting deliveries has been due.", nil, nil)
	figOverUse     = prometheus.NewDesc("hibari_licence_over_use_total", "Connections written late that exceeded their tenant's licence.", nil, nil)
	figReadmitted  = prometheus.NewDesc("hibari_readmitted_total", "Connections entered anew after this node was taken for dead, by result: admitted, or ended for want of a place.", []string{"result"}, nil)
	figLostEntries = prometheus.NewDesc("hibari_ledger_entries_dropped_total", "Steps that were kept while the database was away and that it then did not take.", nil, nil)
	figUnkept      = prometheus.NewDesc("hibari_ledger_entries_unkept_total", "Steps owed to the database that found no room in the data directory's file: lost if the process dies.", nil, nil)
	figPartitions  = prometheus.NewDesc("hibari_partitions_ahead_seconds", "For how long from now a table has partitions, by table.", []string{"table"}, nil)
	figStrayRows   = prometheus.NewDesc("hibari_partition_strays", "Rows of a table that found no partition, by table; at most 10,000 are counted.", []string{"table"}, nil)
	figSamples     = prometheus.NewDesc("hibari_stats_samples_total", "Samples of connections' statistics, by outcome: written, or dropped because the database was away for long.", []string{"outcome"}, nil)
	figWaiting     = prometheus.NewDesc("hibari_stats_samples_waiting", "Samples that the database does not have yet.", nil, nil)
	figStatsErrors = prometheus.NewDesc("hibari_stats_write_failures_total", "Statements with statistics that failed.", nil, nil)
	figReports     = prometheus.NewDesc("hibari_stats_client_reports_total", "Statistics that clients reported of themselves, by outcome: taken, too_many, malformed (or too large), unwritten (taken, but not kept as they came).", []string{"outcome"}, nil)
	figLive        = prometheus.NewDesc("hibari_node_live", "1 while the node's lease holds and it may admit.", nil, nil)
)

// Describe sends the description of every figure that Collect sends.
func (f figures) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(f, out) }

// Collect sends every figure.
func (f figures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	media, door := f.media.Stats(), f.door.Stats()
	gauge(figConnections, float64(media.Connections+door.Peers))
	gauge(figChannels, float64(media.Channels+door.Rooms))
	gauge(figPeers, float64(door.Peers))
	counter(figPacketsIn, media.PacketsIn)
	counter(figForwarded, media.Forwarded)
	counter(figResent, media.Resent)
	counter(figTrains, media.Trains)
	counter(figKeys, media.KeyRequests)
	for reason, n := range media.Drops {
		counter(figDrops, n, string(reason))
	}
	for reason, n := range media.DataDrops {
		counter(figMessageDrops, n, string(reason))
	}
	counter(figShed, media.FramesShed)
	counter(figChanges, media.Changes)
	counter(figPushes, media.Pushes)
	counter(figPushDrops, media.PushDrops)
	counter(figKeyAsks, media.KeyAsks)
	counter(figLateOrders, f.node.Late())
	gauge(figOverloaded, oneIf(f.media.Overloaded()))
	counter(figBroken, media.Panics, "panic")
	counter(figBroken, media.Stalls, "stall")
	port := f.port.Stats()
	for reason, n := range port.Drops {
		counter(figTransport, n, string(reason))
	}
	counter(figMessages, port.MessagesIn, "in")
	counter(figMessages, port.MessagesOut, "out")
	counter(figMessageBytes, port.MessageBytesIn, "in")
	counter(figMessageBytes, port.MessageBytesOut, "out")
	counter(figStrays, port.StrayChannels)
	counter(figNoTrains, port.TrainsRefused)
	counter(figRegained, port.TrainsRegained)
	gauge(figSingle, float64(port.Single))
	for profile, n := range port.Handshakes {
		counter(figHandshakes, n, string(profile))
	}
	counter(figCertificates, port.Certificates)
	counter(figCalls, port.Calls)
	gauge(figSockets, float64(door.OpenSockets))
	gauge(figSessions, float64(door.Sessions))
	for r, n := range door.Wishes {
		counter(figWishes, n, r.Protocol, r.Method, strconv.Itoa(r.Status))
	}
	gauge(figOpen, float64(f.clients.open.Load()))
	counter(figTurned, f.clients.turned.Load())
	gauge(figUnsettled, float64(door.Unsettled))
	for code, n := range door.Refused {
		counter(figRefused, n, string(code))
	}
	counter(figRedirected, door.Redirected)
	counter(figAPILimited, f.api.RateLimited())
	gauge(figDrift, float64(f.ledger.Drift()))
	gauge(figUsageDrift, float64(f.ledger.UsageDrift()))
	spend := f.spend.Stats()
	counter(figSpendLooks, spend.Looks-spend.Failed, "done")
	counter(figSpendLooks, spend.Failed, "failed")
	counter(figUntold, f.ledger.RejectsDropped())
	hooks := f.hooks.Stats()
	gauge(figHooksOpen, float64(hooks.InFlight))
	gauge(figHooksDue, float64(hooks.Waiting))
	gauge(figHooksLag, hooks.Lag.Seconds())
	counter(figAttempts, hooks.Delivered, "delivered")
	counter(figAttempts, hooks.Failed, "failed")
	counter(figAttempts, hooks.Dead, "dead")
	for i, class := range webhooks.ErrorClasses {
		counter(figFailures, hooks.FailedBy[i], string(class))
	}
	counter(figDisabled, hooks.EndpointsDisabled)
	counter(figBreakers, hooks.BreakersOpened)
	for i, decision := range webhooks.AuthDecisions {
		counter(figAuth, hooks.Auth[i], string(decision))
	}
	took := map[float64]uint64{}
	for i, bound := range webhooks.AuthBuckets {
		took[bound] = uint64(hooks.AuthTook[i])
	}
	out <- prometheus.MustNewConstHistogram(figAuthTook, uint64(hooks.AuthTook[len(webhooks.AuthBuckets)]), hooks.AuthSeconds, took)
	gauge(figAuthOpen, float64(hooks.AuthOpen))
	counter(figAuthUnsaid, hooks.AuthUnsaid)
	counter(figSlowStreams, hooks.SlowStreams)
	counter(figStreamsOver, hooks.StreamsRefused)
	gauge(figStreams, float64(hooks.Streams))
	counter(figDeadStreams, hooks.StreamsDead)
	counter(figStreamed, hooks.StreamEvents)
	counter(figFeedReads, hooks.SharedReads, "shared")
	counter(figFeedReads, hooks.OwnReads, "own")
	counter(figRequests, f.requests.Refused()+f.paces.Refused())
	counter(figExports, f.exports.Refused())
	counter(figLivePages, f.console.LivePagesRefused())
	book := f.book.Stats()
	gauge(figAway, oneIf(book.Away))
	gauge(figOwed, float64(book.Owed))
	gauge(figEntries, float64(book.Entries))
	counter(figLenient, book.Admitted)
	counter(figTurnedAway, book.TurnedAway)
	counter(figOverUse, book.OverUse)
	counter(figReadmitted, book.Readmitted, "admitted")
	counter(figReadmitted, book.Unfit, "ended")
	counter(figLostEntries, book.Dropped)
	counter(figUnkept, book.Unkept)
	samples := f.stats.Counts()
	counter(figSamples, samples.Written, "written")
	counter(figSamples, samples.Dropped, "dropped")
	gauge(figWaiting, float64(samples.Waiting))
	counter(figStatsErrors, samples.Failed)
	counter(figReports, samples.Reports.Taken, "taken")
	counter(figReports, samples.Reports.TooMany, "too_many")
	counter(figReports, samples.Reports.Malformed, "malformed")
	counter(figReports, samples.Reports.Unwritten, "unwritten")
	bills := f.invoices.Stats()
	counter(figInvoices, bills.Closed, "closed")
	counter(figInvoices, bills.Drafted, "drafted")
	counter(figInvoices, bills.Finalised, "finalised")
	counter(figBillFailed, bills.Failed)
	gauge(figBillOverdue, float64(bills.Overdue))
	mails := f.tenants.MailStats()
	counter(figMails, mails.Sent, "sent")
	counter(figMails, mails.Failed, "failed")
	counter(figMails, mails.Dropped, "dropped")
	for _, s := range f.kept.known() {
		out <- prometheus.MustNewConstMetric(figPartitions, prometheus.GaugeValue, time.Until(s.ReadyUntil).Seconds(), s.Parent)
		out <- prometheus.MustNewConstMetric(figStrayRows, prometheus.GaugeValue, float64(s.Strays), s.Parent)
	}
	gauge(figLive, oneIf(f.node.Live()))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
