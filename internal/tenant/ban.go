package tenant

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// BanKind is what a ban names its connections by.
type BanKind string

// The kinds of bans.
const (
	TokenBan      BanKind = "token"      // whoever shows this access token
	ClientBan     BanKind = "client"     // whoever has this client_id
	ChannelBan    BanKind = "channel"    // whoever comes to this channel
	ConnectionBan BanKind = "connection" // whoever has the token or the client_id that this connection came with, in its channel
)

// Ban keeps whom it names out until it expires. It also ends those that are in,
// unless it spares them.
type Ban struct {
	ID         string    `json:"ban_id"`
	Kind       BanKind   `json:"kind"`
	Subject    string    `json:"subject"`    // a token's hex SHA-256 (Claim.TokenHash), a client_id, a channel or a connection_id
	Channel    string    `json:"channel_id"` // where it holds; "": in all channels
	ClientID   string    `json:"client_id"`  // of a connection: the client_id that is barred with it; "": it had none of its own
	SparesLive bool      `json:"spares_live"`
	Reason     string    `json:"reason"`
	CreatedBy  string    `json:"created_by"` // Scope.Actor
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// NewBan is a ban to be made.
type NewBan struct {
	Kind BanKind
	// Subject is as Ban.Subject. Of a token it may also be the token itself, which is
	// then not kept.
	Subject    string
	Channel    string    // "": in all channels; only for tokens and clients
	Until      time.Time // at most MaxBanDuration ahead
	Reason     string    // for the tenant's own people; cut at MaxNameBytes
	SparesLive bool
}

// Ban bars whom b names, from now until its end: here at once, in other
// processes within a second of the commit. Who is in is ended, wherever that is.
// To bar what is barred already makes that ban longer and never shorter: the
// same Ban is returned.
//
// The error may be a *FieldError, ErrTooManyBans, or ErrNotFound for a connection
// that the tenant never had.
func (s *Store) Ban(ctx context.Context, scope Scope, b NewBan) (Ban, error) {
	if scope.tenant == "" {
		return Ban{}, ErrScope
	}
	if err := b.normalize(scope, time.Now()); err != nil {
		return Ban{}, err
	}
	var made bar
	err := scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		made = bar{tenant: scope.tenant, Ban: Ban{
			ID: "ban_" + NewID(), Kind: b.Kind, Subject: b.Subject, Channel: b.Channel, SparesLive: b.SparesLive, Reason: b.Reason,
			CreatedBy: scope.actor, ExpiresAt: b.Until,
		}}
		if b.Kind == ConnectionBan {
			if err := made.readConnection(ctx, tx); err != nil {
				return err
			}
		}
		made.setHash(made.hash[:])
		if err := roomForBan(ctx, tx, scope); err != nil {
			return err
		}
		if err := made.insert(ctx, tx); err != nil {
			return err
		}
		return audit(ctx, tx, scope, "ban.created", made.ID, "", map[string]any{
			"kind": made.Kind, "subject": made.Subject, "channel_id": made.Channel, "expires_at": made.ExpiresAt, "reason": made.Reason})
	})
	if err != nil {
		return Ban{}, err
	}
	s.bans.learn([]bar{made})
	return made.Ban, nil
}

// normalize checks a ban and brings it into the form that is kept.
func (b *NewBan) normalize(scope Scope, now time.Time) error {
	b.Channel = scope.ChannelName(b.Channel)
	b.Reason = Printable(b.Reason, MaxNameBytes)
	if ahead := b.Until.Sub(now); ahead <= 0 || ahead > MaxBanDuration {
		return &FieldError{"expires_at", fmt.Sprintf("must lie ahead, at most %d days", MaxBanDuration/(24*time.Hour))}
	}
	if b.Channel != "" {
		if b.Kind == ChannelBan || b.Kind == ConnectionBan {
			return &FieldError{"channel_id", "is only for bans of tokens and clients: the others have their channel"}
		}
		if err := CheckName("channel_id", b.Channel); err != nil {
			return err
		}
	}
	switch b.Kind {
	case TokenBan:
		hash, ok := readHash(b.Subject)
		if !ok {
			if len(b.Subject) > MaxTokenBytes || !isCompact(b.Subject) {
				return &FieldError{"subject", "must be an access token, or its SHA-256 in 64 hexadecimal digits"}
			}
			header, refusal := readHeader(b.Subject)
			if refusal != nil {
				return &FieldError{"subject", "must be an access token: " + refusal.Detail}
			}
			hash = hashToken(b.Subject, header.algorithm) // what Verify will hash: a token whose alg is not its key's is none
		}
		b.Subject = hex.EncodeToString(hash[:])
	case ClientBan:
		return CheckName("subject", b.Subject)
	case ChannelBan:
		b.Subject = scope.ChannelName(b.Subject)
		return CheckName("subject", b.Subject)
	case ConnectionBan:
		if !isID(b.Subject) {
			return &FieldError{"subject", "must be a connection_id: 26 characters"}
		}
	default:
		return &FieldError{"kind", "must be one of token, client, channel, connection"}
	}
	return nil
}

// readHash reads a SHA-256 in hex.
func readHash(text string) (hash [32]byte, ok bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(hash) {
		return hash, false
	}
	return [32]byte(raw), true
}

// readConnection reads what a connection, live or not, came with.
func (b *bar) readConnection(ctx context.Context, tx pgx.Tx) error {
	var hash []byte
	err := tx.QueryRow(ctx, `select channel_id, client_id, token_hash from connection where tenant_id = $1 and connection_id = $2`,
		b.tenant, b.Subject).Scan(&b.Channel, &b.ClientID, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("couldn't read what the connection came with: %w", err)
	}
	if b.ClientID == b.Subject {
		b.ClientID = "" // it had none of its own
	}
	if len(hash) == len(b.hash) {
		b.hash = [32]byte(hash)
	}
	return nil
}

// roomForBan locks the tenant, so that two at once cannot both be the last, and
// counts its bans.
func roomForBan(ctx context.Context, tx pgx.Tx, scope Scope) error {
	err := roomForKey(ctx, tx, scope, `
		select count(*) from ban where tenant_id = $1 and lifted_at is null and expires_at > clock_timestamp()`, MaxBans)
	if errors.Is(err, ErrTooManyKeys) {
		return ErrTooManyBans
	}
	return err
}

// insert writes the ban, or makes the one that stands longer.
func (b *bar) insert(ctx context.Context, tx pgx.Tx) error {
	// One that is over, and not purged yet, is not what is made longer.
	_, err := tx.Exec(ctx, `
		update ban set lifted_at = clock_timestamp(), changed_in = pg_current_xact_id()
		where tenant_id = $1 and kind = $2 and subject = $3 and channel_id = $4 and lifted_at is null and expires_at <= clock_timestamp()`,
		b.tenant, b.Kind, b.Subject, b.Channel)
	if err != nil {
		return fmt.Errorf("couldn't write the ban: %w", err)
	}
	var hash []byte
	if b.Kind == ConnectionBan && b.hash != ([32]byte{}) {
		hash = b.hash[:]
	}
	var changed string
	err = tx.QueryRow(ctx, `
		insert into ban (ban_id, tenant_id, kind, subject, channel_id, client_id, token_hash, spares_live, reason, created_by, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		on conflict (tenant_id, kind, subject, channel_id) where lifted_at is null do update
		set expires_at = greatest(ban.expires_at, excluded.expires_at), reason = excluded.reason,
			spares_live = ban.spares_live and excluded.spares_live, changed_in = pg_current_xact_id()
		returning ban_id, spares_live, created_by, created_at, expires_at, changed_in::text`,
		b.ID, b.tenant, b.Kind, b.Subject, b.Channel, b.ClientID, hash, b.SparesLive, b.Reason, b.CreatedBy, b.ExpiresAt).
		Scan(&b.ID, &b.SparesLive, &b.CreatedBy, &b.CreatedAt, &b.ExpiresAt, &changed)
	if err == nil {
		b.changed, err = strconv.ParseUint(changed, 10, 64)
	}
	if err != nil {
		return fmt.Errorf("couldn't write the ban: %w", err)
	}
	return nil
}

// BanToken refuses one access token of the tenant from now until its expiry,
// until; zero if that is not known. Who is in with it stays.
func (s *Store) BanToken(ctx context.Context, scope Scope, tokenHash [32]byte, until time.Time, reason string) error {
	if until.IsZero() {
		until = time.Now().Add(MaxTokenTTL + NotBeforeLeeway) // no token lives longer
	}
	if !until.After(time.Now()) && scope.tenant != "" {
		return nil // nobody comes in with it any longer
	}
	_, err := s.Ban(ctx, scope, NewBan{Kind: TokenBan, Subject: hex.EncodeToString(tokenHash[:]), Until: until, Reason: reason, SparesLive: true})
	return err
}

// Unban lifts a ban: here at once, in other processes within a second of the
// commit. ErrNotFound if the tenant has no such ban that stands.
func (s *Store) Unban(ctx context.Context, scope Scope, id string) error {
	if scope.tenant == "" {
		return ErrScope
	}
	lifted := bar{tenant: scope.tenant, lifted: true}
	err := scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		var changed string
		err := tx.QueryRow(ctx, `
			update ban set lifted_at = clock_timestamp(), changed_in = pg_current_xact_id()
			where tenant_id = $1 and ban_id = $2 and lifted_at is null and expires_at > clock_timestamp()
			returning ban_id, kind, subject, channel_id, expires_at, changed_in::text`, scope.tenant, id).
			Scan(&lifted.ID, &lifted.Kind, &lifted.Subject, &lifted.Channel, &lifted.ExpiresAt, &changed)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err == nil {
			lifted.changed, err = strconv.ParseUint(changed, 10, 64)
		}
		if err != nil {
			return fmt.Errorf("couldn't lift a ban: %w", err)
		}
		return audit(ctx, tx, scope, "ban.lifted", id, "", map[string]any{
			"kind": lifted.Kind, "subject": lifted.Subject, "channel_id": lifted.Channel})
	})
	if err != nil {
		return err
	}
	s.bans.learn([]bar{lifted})
	return nil
}

// BanByID returns one ban that stands; ErrNotFound if the tenant has no such one.
func (s *Store) BanByID(ctx context.Context, scope Scope, id string) (Ban, error) {
	rows, err := scope.In(s.pool).Query(ctx, `select `+banColumns+` from ban
		where tenant_id = $1 and ban_id = $2 and lifted_at is null and expires_at > clock_timestamp()`, scope.tenant, id)
	if err != nil {
		return Ban{}, fmt.Errorf("couldn't read a ban: %w", err)
	}
	ban, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Ban])
	if errors.Is(err, pgx.ErrNoRows) {
		return Ban{}, ErrNotFound
	}
	if err != nil {
		return Ban{}, fmt.Errorf("couldn't read a ban: %w", err)
	}
	return ban, nil
}

// banColumns are what RowToStructByPos makes a Ban of.
const banColumns = `ban_id, kind, subject, channel_id, client_id, spares_live, reason, created_by, created_at, expires_at`

// BanQuery chooses among a tenant's bans.
type BanQuery struct {
	Kind  BanKind // "": all
	Find  string  // part of the subject, the channel, the client_id or the reason; "": any
	After string  // what the last page returned as next; "": from the newest
	Limit int     // at most 1000; 0: 100
}

// Bans returns the tenant's bans that stand, newest first. next continues the
// listing as BanQuery.After; "" means that there are no more. A *FieldError says
// that After is not what a page returned.
func (s *Store) Bans(ctx context.Context, scope Scope, q BanQuery) (bans []Ban, next string, err error) {
	if scope.tenant == "" {
		return nil, "", ErrScope
	}
	limit := min(q.Limit, largestBanPage)
	if limit <= 0 {
		limit = usualBanPage
	}
	before, id, err := readBanCursor(q.After)
	if err != nil {
		return nil, "", err
	}
	rows, err := scope.In(s.pool).Query(ctx, `
		select `+banColumns+`
		from ban
		where tenant_id = $1 and lifted_at is null and expires_at > clock_timestamp()
			and ($2 = '' or kind = $2)
			and ($3 = '' or position(lower($3) in lower(subject || ' ' || channel_id || ' ' || client_id || ' ' || reason)) > 0)
			and ($4::timestamptz is null or (created_at, ban_id) < ($4, $5))
		order by created_at desc, ban_id desc limit $6`, scope.tenant, q.Kind, Printable(q.Find, MaxNameBytes), before, id, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't read bans: %w", err)
	}
	bans, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Ban])
	if err != nil {
		return nil, "", fmt.Errorf("couldn't read bans: %w", err)
	}
	if len(bans) > limit {
		bans = bans[:limit]
		last := bans[limit-1]
		next = strconv.FormatInt(last.CreatedAt.UnixMicro(), 36) + "." + last.ID
	}
	return bans, next, nil
}

const (
	usualBanPage   = 100
	largestBanPage = 1000
)

// readBanCursor reads where a page ended; nil: from the newest.
func readBanCursor(after string) (before *time.Time, id string, err error) {
	if after == "" {
		return nil, "", nil
	}
	text, id, ok := strings.Cut(after, ".")
	micros, err := strconv.ParseInt(text, 36, 64)
	if !ok || err != nil || badText(id) {
		return nil, "", &FieldError{"after", "is not what a page returned"}
	}
	return new(time.UnixMicro(micros)), id, nil
}
