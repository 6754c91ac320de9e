package signaling

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Verifier checks access tokens. Every error is meant to be a *tenant.Refusal;
// any other counts as unavailable. A claim that comes with an error says whose
// token it was.
type Verifier interface {
	Verify(ctx context.Context, wish tenant.TokenWish) (claim tenant.Claim, channel string, err error)
}

// Ledger keeps the books of connections for this node. Every method may be
// repeated for the same connection without counting it twice.
type Ledger interface {
	// Open takes a licence place. A *tenant.Refusal is the tenant's affair, and
	// a *tenant.Elsewhere another node's; any other error means that the books are
	// out of reach.
	Open(ctx context.Context, o tenant.Opening) (tenant.Opened, error)
	// Connected notes that media came up, ago before now.
	Connected(ctx context.Context, connectionID string, ago time.Duration) error
	// Close frees the place and notes when the connection ended, and before
	// that when its media came up if Connected could not. tenant.ErrNotFound:
	// it was never taken.
	Close(ctx context.Context, connectionID string, e tenant.Ending) error
	// Abandon is Close after an Open that gave no answer: it may have taken a
	// place, and may even be about to.
	Abandon(ctx context.Context, o tenant.Opening, e tenant.Ending) error
	// Reject notes a connect that had a good token and was refused all the same.
	Reject(ctx context.Context, o tenant.Opening, r *tenant.Refusal) error
	// Look returns how many connections the channel has, and takes nothing. It
	// fails as Open would if the channel is another node's or of another kind.
	Look(ctx context.Context, o tenant.Opening) (tenant.Counts, error)
}

// Bans says who is barred, from memory. What has become known here holds also
// while the database is away.
type Bans interface {
	// Barred returns the refusal of who may not come in; nil: no ban names it.
	Barred(s tenant.Subject) *tenant.Refusal
	// Ousted reports whether a ban ends a connection that is in.
	Ousted(s tenant.Subject) bool
}

// Media lets an admitted client into its channel.
type Media interface {
	Join(ctx context.Context, r sfu.JoinRequest) (*sfu.Connection, error)
	// Overloaded reports whether it has more to send than it can, so that one
	// client more would cost those that are there.
	Overloaded() bool
}

// Statistics takes what clients report of themselves.
type Statistics interface {
	// Report takes a client's list of RTCStats, as JSON that stays the caller's. It
	// must not wait, and may drop it.
	Report(id tenant.ID, connectionID string, report json.RawMessage)
}

// Config is what a Door needs.
type Config struct {
	Verifier   Verifier
	Authorizer Authorizer // nil: tenants with an auth webhook are refused
	Bans       Bans       // nil: nobody is barred
	Ledger     Ledger
	Media      Media
	Statistics Statistics // nil: what they say is dropped
	Version    string     // the platform's, shown to clients in the offer
	Limits     Limits

	// WebSocketOnly has today's clients that do not say how they signal do it over
	// their WebSocket alone; otherwise they change to DataChannels.
	WebSocketOnly bool
	// Uncompressed has DataChannels for signalling carry JSON as it is; otherwise
	// it is compressed.
	Uncompressed bool

	Log *slog.Logger // nil: silent

	// PublicURL is what clients reach this node by, such as https://a.example.com;
	// without a path. nil: they are told paths alone.
	PublicURL *url.URL
	// ICEServers are what the client of a connection is told of; nil: none, for the
	// answer has every address of ours.
	ICEServers func(connectionID string) []ICEServer
}

// A Door lets clients in. All its methods may be called at any time from any
// goroutine.
type Door struct {
	// Static.
	verifier   Verifier
	authorizer Authorizer
	bans       Bans // nil: nobody is barred
	ledger     Ledger
	media      Media
	statistics Statistics // nil: nobody wants any
	version    string
	limits     Limits
	channels   bool // who does not say signals over DataChannels
	compress   bool // what is said there
	log        *slog.Logger
	knocks     *tenant.Paces // of tenants' clients
	calls      calls         // that come in or are in; lock for themselves
	rooms      *rooms        // of peer-to-peer calls; lock for themselves
	wishes     wishSessions  // of WHIP and WHEP; lock for themselves
	servers    func(string) []ICEServer
	url        *url.URL        // what clients reach this node by; nil: unknown
	built      time.Time       // the zero of beats
	open       context.Context // until Drain
	shut       context.CancelFunc
	draining   <-chan struct{} // open's end
	ctx        context.Context
	giveUp     context.CancelFunc // ends ctx: nobody waits for the ledger any longer

	// Guarded by mu.
	mu      sync.Mutex
	drained bool
	present present
	idle    chan struct{} // closed when nothing is present; nil: nobody waits
	refused map[tenant.Code]int64
	sent    int64 // to other nodes
}

// Stats are a door's figures for the metrics.
type Stats struct {
	OpenSockets int
	Peers       int // connections of peer-to-peer calls
	Rooms       int // where they meet
	Sessions    int // of WHIP and WHEP
	Unsettled   int // connections whose end the ledger has not taken yet, the living included
	Refused     map[tenant.Code]int64
	Redirected  int64                 // sent to the node that has their channel
	Wishes      map[WishRequest]int64 // requests of WHIP and WHEP
}

// New returns a door, open.
func New(c Config) *Door {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	d := &Door{
		verifier: c.Verifier, authorizer: c.Authorizer, bans: c.Bans, ledger: c.Ledger, media: c.Media, statistics: c.Statistics, version: c.Version,
		limits: c.Limits.withDefaults(), channels: !c.WebSocketOnly, compress: !c.Uncompressed, log: c.Log,
		knocks: knocksOf(c.Limits.withDefaults()), calls: calls{byID: map[string]*call{}},
		rooms: newRooms(), built: time.Now(), refused: map[tenant.Code]int64{},
		wishes:  wishSessions{byID: map[string]*wishSession{}, requests: map[WishRequest]int64{}},
		servers: c.ICEServers, url: c.PublicURL,
	}
	d.ctx, d.giveUp = context.WithCancel(context.Background())
	d.open, d.shut = context.WithCancel(d.ctx)
	d.draining = d.open.Done()
	return d
}

// errDraining refuses a client because the node is about to stop.
var errDraining = tenant.Refuse(tenant.Draining, "this node takes no new connections; connect again to reach another")

// visitor is a client that knocks: what it asks and where it comes from.
type visitor struct {
	Connect
	Offer         *sfu.Offer // its own; nil: it waits for ours
	Peer          bool       // it comes for a peer-to-peer call: its media does not pass the platform
	Redirects     bool       // it would go to another node if told to; else it is refused
	Protocol      string     // as in tenant.Opening
	RemoteAddress string
	UserAgent     string
}

// enter is the whole connect, for every dialect: who may come in, what it
// takes, and who cleans up. Every error is a *tenant.Refusal or, to one who
// redirects, a *tenant.Elsewhere.
func (d *Door) enter(v visitor) (*call, error) {
	id, asked := tenant.NewID(), v.Connect
	claim, channel, err := d.verify(v)
	v.granted(claim.Grant)
	if err != nil {
		return nil, d.reject(v.opening(id, claim, v.Channel), err)
	}
	opening := v.opening(id, claim, channel) // the channel is now without any @TENANT_ID
	if !d.knocks.Allow(claim.Tenant) {
		return nil, d.reject(opening, errTooManyKnocks)
	}
	if err := checkName("channel_id", channel); err != nil {
		return nil, d.reject(opening, err)
	}
	if d.isDraining() {
		return nil, d.reject(opening, errDraining)
	}
	if claim, err = d.authorize(v, opening, claim); err != nil {
		return nil, d.decline(v, opening, err)
	}
	v.Connect = asked
	v.granted(claim.Grant)
	opening = v.opening(id, claim, channel)
	if !asked.hopeless() && v.hopeless() {
		return nil, d.reject(opening, errNothingGranted)
	}
	c := &call{
		door: d, id: id, subject: opening.Subject(), role: opening.Role, opening: opening, channel: v.Channel,
		maxDuration: lifetime(claim), metadata: firstJSON(claim.Grant.Metadata, claim.Metadata),
	}
	// Noted first: a ban that comes after the look at the bans finds it there.
	d.calls.add(c)
	if refusal := d.barred(c.subject); refusal != nil {
		d.calls.remove(c)
		return nil, d.reject(opening, refusal)
	}
	admitted, err := d.admit(v, opening, c)
	if err != nil {
		d.calls.remove(c)
	}
	return admitted, err
}

// errNothingGranted refuses a client that would have nothing to do.
var errNothingGranted = tenant.Refuse(tenant.AuthRejected, "the tenant grants neither audio, video nor messaging channels; grant one of them")

// verify checks the token.
func (d *Door) verify(v visitor) (claim tenant.Claim, channel string, err error) {
	ctx, cancel := context.WithTimeout(d.ctx, d.limits.Admit)
	defer cancel()
	return d.verifier.Verify(ctx, tenant.TokenWish{Token: v.Token, Channel: v.Channel, Role: v.Role})
}

// admit takes the licence place for a client that may come in, and lets it join.
func (d *Door) admit(v visitor, opening tenant.Opening, c *call) (*call, error) {
	// The client's leaving must not cut this short: a licence place half
	// taken would have to be found out about.
	ctx, cancel := context.WithTimeout(d.ctx, d.limits.Admit)
	defer cancel()
	where := d.venue(v)
	if err := where.reserve(opening); err != nil { // before a place is taken: there is none to give
		return nil, d.reject(opening, err)
	}
	opened, err := d.ledger.Open(ctx, opening)
	if asElsewhere(err) != nil || tenant.AsRefusal(err) != nil {
		where.release(c.id)
		return nil, d.decline(v, opening, err)
	}
	if err != nil {
		where.release(c.id)
		c.start() // to close it: the answer may have been lost, not the request
		return nil, d.refuse(fmt.Errorf("couldn't open connection %s: %w", c.id, err))
	}
	c.opened = true
	c.joined(opened.SessionID)
	// Before it joins: the end of one in a room is the end of the other.
	d.calls.end(opening.Tenant, opened.Replaced, tenant.EndReplaced)
	if doomed := c.doom(); doomed != "" {
		where.release(c.id)
		c.start() // to close it
		return nil, d.refuse(tenant.Refuse(tenant.ChannelDenied, "ended while it came in: %s", doomed))
	}
	if err := where.join(ctx, c, v, opened); err != nil {
		c.start() // to close it
		if errors.Is(err, sfu.ErrClosed) {
			err = errDraining
		}
		return nil, d.refuse(fmt.Errorf("couldn't join channel: %w", err))
	}
	c.opening = tenant.Opening{} // the ledger has it
	c.enter()
	return c, nil
}

// opening is what the ledger is told about the visitor, who has what the claim
// grants. The ledger makes text of the client's own fit to be kept.
func (v visitor) opening(id string, claim tenant.Claim, channel string) tenant.Opening {
	return tenant.Opening{
		ConnectionID: id, Tenant: claim.Tenant, Channel: channel, Role: v.Role,
		ClientID: firstOf(v.ClientID, id), Protocol: v.Protocol,
		KeyID: claim.KeyID, TokenHash: claim.TokenHash, TokenExpiresAt: claim.ExpiresAt,
		Metadata: firstJSON(claim.Grant.EventMetadata, claim.Metadata), RemoteAddress: v.RemoteAddress, UserAgent: v.UserAgent,
		MaxChannelConnections: claim.Grant.MaxChannelConnections, Duplicates: cmp.Or(claim.Grant.Duplicates, claim.Duplicates),
		Profile: v.profile(id),
	}
}

// request is what the media plane is told about the visitor.
func (v visitor) request(o tenant.Opening, opened tenant.Opened) sfu.JoinRequest {
	return sfu.JoinRequest{
		Tenant: o.Tenant, Channel: o.Channel, SessionID: opened.SessionID, ConnectionID: o.ConnectionID,
		ClientID: o.ClientID, BundleID: firstOf(v.BundleID, o.ConnectionID), Role: v.Role,
		Audio: v.Audio, Video: v.Video, AnyCodec: v.AnyCodec, Slots: v.Slots, Simulcast: v.simulcast(), Spotlight: v.spotlight(),
		Metadata: v.Metadata, NoNotify: v.NoNotify, NoPush: v.Protocol != today{}.protocol(), Filters: v.Filters, Offer: v.Offer,
	}
}

// refuse counts a refusal and returns it as one; an error that is none is
// logged and becomes `unavailable`.
func (d *Door) refuse(err error) *tenant.Refusal {
	refusal := tenant.AsRefusal(err)
	if refusal == nil {
		d.log.Error("couldn't let a client in", "error", err)
		refusal = tenant.Refuse(tenant.Unavailable, "the platform can't take connections right now; try again in a few seconds")
	}
	d.mu.Lock()
	d.refused[refusal.Code]++
	d.mu.Unlock()
	return refusal
}

// reject refuses a client so that its tenant learns of it, if its token was
// good enough to tell whose it is.
func (d *Door) reject(o tenant.Opening, err error) *tenant.Refusal {
	refusal := d.refuse(err)
	if o.Tenant == "" || refusal.Code == tenant.Unavailable { // then there is nobody to write it, either
		return refusal
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.limits.Admit)
	defer cancel()
	if err := d.ledger.Reject(ctx, o, refusal.ForTenant()); err != nil {
		d.log.Warn("couldn't note a refused connect", "tenant", o.Tenant, "code", refusal.Code, "error", err)
	}
	return refusal
}

// decline sends a visitor on or rejects it.
func (d *Door) decline(v visitor, o tenant.Opening, err error) error {
	if elsewhere := asElsewhere(err); elsewhere != nil {
		return d.send(v, elsewhere)
	}
	return d.reject(o, err)
}

// Stats returns the figures so far.
func (d *Door) Stats() Stats {
	peers, rooms := d.rooms.count()
	sessions, requests := d.wishes.count()
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{Sessions: sessions, Wishes: requests, OpenSockets: d.present.sockets, Peers: peers, Rooms: rooms, Unsettled: d.present.calls, Refused: maps.Clone(d.refused), Redirected: d.sent}
}

// beatsPerPing is how many moments of an interval pings leave at, so that one
// waking of the process serves many clients, and so do their answers.
const beatsPerPing = 16

// beat is the last moment for pings up to at.
func (d *Door) beat(at time.Time) time.Time {
	return d.built.Add(at.Sub(d.built).Truncate(max(1, d.limits.Ping/beatsPerPing)))
}

// iceServers are what a client is told of.
func (d *Door) iceServers(connectionID string) []ICEServer {
	if d.servers == nil {
		return nil
	}
	return d.servers(connectionID)
}

// firstJSON returns the first of values that is there.
func firstJSON(values ...json.RawMessage) json.RawMessage {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

// firstOf returns the first of values that is not empty.
func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
