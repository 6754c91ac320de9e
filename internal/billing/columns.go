package billing

import "time"

// What follows is a contract with every tenant: the columns of the files that the console
// and the REST API send. Columns are added at the end, never renamed or removed.

// UsageColumns are those of usage.
var UsageColumns = []string{"from", "to", "time_zone", "channel_id", "role", "connections", "minutes", "seconds", "bytes_in", "bytes_out",
	"billed_seconds", "recording_seconds", "data_through"}

// Cells are one row's, in the order of UsageColumns. Times are in the tenant's time zone.
func (r *UsageReport) Cells(row UsageRow) []any {
	return []any{row.From.Format(time.RFC3339), row.To.Format(time.RFC3339), r.From.Location().String(), row.Channel, string(row.Role),
		row.Connections, row.Minutes, row.Seconds, row.BytesIn, row.BytesOut,
		row.BilledSeconds, row.RecordingSeconds, r.DataThrough.Format(time.RFC3339)}
}

// SegmentColumns are those of segments. Without total_ they are what of the segment
// belongs to the time asked for.
var SegmentColumns = []string{"connection_id", "channel_id", "session_id", "client_id", "role", "protocol",
	"connected_at", "metered_through", "ended_at", "end_reason", "minutes", "seconds", "billed_seconds", "bytes_in", "bytes_out",
	"total_minutes", "total_seconds", "total_billed_seconds", "total_bytes_in", "total_bytes_out"}

// Cells are the row's, in the order of SegmentColumns. Times are in UTC.
func (s *SegmentRow) Cells() []any {
	return []any{s.ConnectionID, s.Channel, s.SessionID, s.ClientID, string(s.Role), s.Protocol,
		s.ConnectedAt.UTC(), s.MeteredThrough.UTC(), s.EndedAt.UTC(), s.EndReason,
		s.Share.Minutes, s.Share.Seconds, s.Share.BilledSeconds, s.Share.BytesIn, s.Share.BytesOut,
		s.Whole.Minutes, s.Whole.Seconds, s.Whole.BilledSeconds, s.Whole.BytesIn, s.Whole.BytesOut}
}
