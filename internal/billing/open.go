package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// Open takes a licence place for o on the node, all in one transaction: the
// place in the tenant and in the channel, the connection, and the events
// channel.started (for the channel's first) and connection.connecting.
//
// A *tenant.Refusal says that there is no place (tenant_full, channel_full,
// with Current and Max), that the tenant is suspended or its spending has reached its
// cap, that the channel is of the
// other kind or has the client id already (channel_denied), or that o cannot be
// stored (bad_message). A
// *tenant.Elsewhere says on which node the channel lives, as long as that is up;
// `unavailable`, that it lives where a client cannot be sent to. A channel lives
// on the node of its first connection, until its last has ended or that node has.
// Other errors are no verdict about the client:
// ErrNodeEnded, ErrConnectionUsed, or the database could not be asked. Open
// may be called again with the same connection id, also when the answer to the
// first call was lost: the place is taken once.
func (l *Ledger) Open(ctx context.Context, nodeID string, o tenant.Opening) (tenant.Opened, error) {
	a := &admission{nodeID: nodeID, opening: o}
	err := l.openings.take(ctx, admissionKey{o.Tenant, nodeID}, a)
	if err == nil {
		err = a.refused
	}
	if err != nil {
		return tenant.Opened{}, fmt.Errorf("couldn't open connection %s: %w", o.ConnectionID, err)
	}
	l.remember(o.ConnectionID, o.Tenant)
	return a.opened, nil
}

// openAlone opens one connection in a transaction of its own, or says what is wrong
// with it.
func (l *Ledger) openAlone(ctx context.Context, key admissionKey, a *admission) error {
	err := l.admit(ctx, key, []*admission{a})
	if violates(err, "connection_pkey") { // it was opened before, and perhaps it is live
		err = l.admitOnce(ctx, key, []*admission{a}, true)
	}
	switch {
	case unstorable(err):
		return tenant.Refuse(tenant.BadMessage,
			"the channel, client id or token metadata has a character or number that cannot be stored: NUL, broken UTF-8 or an endless number")
	case violates(err, "connection_pkey"):
		return ErrConnectionUsed // it has ended: a live one was found
	}
	return err
}

func suspended() *tenant.Refusal {
	return tenant.Refuse(tenant.TenantSuspended, "the tenant is suspended; its owner should ask the operator")
}

// spendCapped refuses somebody new of a tenant whose spending has reached its cap. The
// amounts are nobody's but the tenant's, so a client is told only until when; all of it
// fits in the reason of a WebSocket's close.
func spendCapped(until time.Time) *tenant.Refusal {
	return tenant.Refuse(tenant.SpendCapReached,
		"the tenant's spending cap is reached; raise it in the console, or wait until %s",
		until.UTC().Format(time.RFC3339))
}

func tenantFull(current, most int) *tenant.Refusal {
	r := tenant.Refuse(tenant.TenantFull,
		"the licence allows %d connections at one time and %d are open: end some, or extend the licence", most, current)
	r.Current, r.Max = current, most
	return r
}

func channelFull(channel string, current, most int) *tenant.Refusal {
	r := tenant.Refuse(tenant.ChannelFull,
		"a channel may have %d connections and %q has %d: use another channel, or ask for a larger limit", most, channel, current)
	r.Current, r.Max = current, most
	return r
}

// channelFullForToken refuses one whose own token would have the channel smaller.
func channelFullForToken(channel string, current, most int) *tenant.Refusal {
	r := tenant.Refuse(tenant.ChannelFull,
		"the access token lets a channel have %d connections and %q has %d: use another channel, or a token with a larger max_channel_connections",
		most, channel, current)
	r.Current, r.Max = current, most
	return r
}

// duplicate refuses one whose client id is in the channel already.
func duplicate(o *tenant.Opening) *tenant.Refusal {
	return tenant.Refuse(tenant.ChannelDenied,
		"the client id %q is in channel %q already, and may be there once: end that connection first, or use another client id",
		o.ClientID, o.Channel)
}

// watched reports whether an opening's client id must not be in its channel twice.
func watched(o *tenant.Opening) bool {
	return o.Duplicates == tenant.DuplicatesRefuse || o.Duplicates == tenant.DuplicatesReplace
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
