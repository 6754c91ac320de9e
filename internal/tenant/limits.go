package tenant

import "time"

// Limits of this package. They are part of what tenants can rely on, so each
// is named here and nowhere repeated.
const (
	// MaxTokenBytes is the longest access token that is looked at.
	MaxTokenBytes = 8 << 10
	// MaxTokenTTL is how far ahead exp may lie. A token is for joining now;
	// how long a connection lives is max_duration.
	MaxTokenTTL = 24 * time.Hour
	// DefaultTokenTTL is what SignToken gives when asked for no time.
	DefaultTokenTTL = 10 * time.Minute
	// NotBeforeLeeway forgives a signer's clock that runs ahead: nbf may lie
	// this much in the future, and exp this much beyond MaxTokenTTL.
	NotBeforeLeeway = 30 * time.Second
	// MaxMetadataBytes bounds the metadata claim, as compact JSON.
	MaxMetadataBytes = 4 << 10
	// MaxNameBytes bounds channel names, client ids and jti.
	MaxNameBytes = 255
	// MaxConnectionDuration bounds max_duration.
	MaxConnectionDuration = 30 * 24 * time.Hour

	// MaxNotifyMetadataBytes bounds what a grant gives to be shown to others or
	// to the client, each as compact JSON.
	MaxNotifyMetadataBytes = 8 << 10
	// MaxDataChannels bounds the messaging channels of a connection.
	MaxDataChannels = 32
	// MaxChannelConnections bounds max_channel_connections: no licence has more.
	MaxChannelConnections = 100_000
	// MaxSpotlightNumber bounds how many speakers are in focus.
	MaxSpotlightNumber = 8

	maxRPCMethods        = 64
	maxForwardingFilters = 16
	maxFilterRules       = 32   // of a filter, and conditions of a rule
	maxFilterValues      = 128  // of a condition
	maxFilterSize        = 1024 // rules, conditions and values of all: each publisher is held against them

	// MaxPublicKeyBytes is the longest text that is looked at for a public key.
	MaxPublicKeyBytes = 8 << 10
	// MaxActiveSigningKeys and MaxActiveAPIKeys are per tenant: enough for
	// every server to rotate its own.
	MaxActiveSigningKeys = 10
	MaxActiveAPIKeys     = 50

	// TrialLength is how long the licence of somebody who signed up lasts.
	TrialLength = 30 * 24 * time.Hour
	// MaxLicence bounds the connections of any licence, and of one channel.
	MaxLicence = 1_000_000

	// MinPasswordRunes and MaxPasswordBytes bound a password.
	MinPasswordRunes = 8
	MaxPasswordBytes = 128

	// SessionIdle and SessionLifetime end a log-in: unused for so long, or so
	// old however much it is used.
	SessionIdle     = 12 * time.Hour
	SessionLifetime = 7 * 24 * time.Hour

	// A wrong log-in takes one from the account's and one from the address's
	// bucket; a right one takes nothing. That of the account counts over all
	// processes, that of the address in each.
	LoginsPerAccount       = 10 // wrong ones in a row
	LoginsPerAccountRefill = time.Minute
	LoginsPerAddress       = 50 // an office behind one address is many people
	LoginsPerAddressRefill = 6 * time.Second
	// A wrong code of the second step takes one from the member's bucket. Three
	// codes in a million are right at a time.
	CodesPerAccount       = 5
	CodesPerAccountRefill = 5 * time.Minute
	// Sign-ups and mails asked for from one address, in each process.
	StrangersPerAddress       = 50
	StrangersPerAddressRefill = 30 * time.Second
	// Mails to one address, over all processes; more are not sent, in silence.
	MailsPerRecipient       = 5
	MailsPerRecipientRefill = 10 * time.Minute
	// Invitations of one tenant, over all processes.
	InvitationsPerTenant       = 100
	InvitationsPerTenantRefill = 10 * time.Minute

	// How long what a person was sent is good for.
	SignupLifetime     = 24 * time.Hour
	ResetLifetime      = time.Hour
	EmailLifetime      = 24 * time.Hour
	InvitationLifetime = 7 * 24 * time.Hour
	// CodeWait is how long after the password the second step may take.
	CodeWait = 5 * time.Minute
	// ReauthAfter is how long a typed password is good for changes that matter.
	ReauthAfter = 15 * time.Minute
	// RecoveryCodes is how many a member gets.
	RecoveryCodes = 10
	// MaxMembers bounds a tenant's members and invitations together.
	MaxMembers = 500

	// MaxBans bounds the bans of a tenant that stand, MaxBanDuration each of them.
	MaxBans        = 5_000
	MaxBanDuration = 366 * 24 * time.Hour
	// BansEvery is how often each process asks what has changed about bans.
	BansEvery = 250 * time.Millisecond

	// RefreshEvery is how old the memory behind Verify may be. A revoked key
	// or a ban written on another node works here after at most this time and
	// one query.
	RefreshEvery = 2 * time.Second
	// APIKeyMemory is for how long an API key that was found good is not looked up
	// again: so a key that is revoked on another node works here for that long.
	APIKeyMemory = 2 * time.Second
	// APIKeyTrust is for how long after it was found good an API key is taken for good
	// while the database is away: nobody can revoke one then, and a server must be able
	// to end connections.
	APIKeyTrust = 10 * time.Minute
	// apiKeyPatience is how long a look-up may take.
	apiKeyPatience = 3 * time.Second
	// maxKnownKeys bounds how many are remembered.
	maxKnownKeys = 10_000
	// KeyLookupsPerSecond bounds what unknown kids may cost the database,
	// all clients together.
	KeyLookupsPerSecond = 10
)
