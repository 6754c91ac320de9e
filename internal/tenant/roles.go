package tenant

// Who may do what, in the console as over the APIs: an API key may do what a
// member of its role may. A role that is missing may do nothing.
var (
	Everyone = []MemberRole{Owner, Admin, Developer, Billing, Viewer}
	Watchers = []MemberRole{Owner, Admin, Developer, Viewer} // see what is live and what happened
	Builders = []MemberRole{Owner, Admin, Developer}         // change what clients and servers rely on
	Payers   = []MemberRole{Owner, Admin, Billing}           // change what is paid for
	Keepers  = []MemberRole{Owner, Admin}                    // see and change who may do what
)

// KeyRoles are the roles that an API key may have, from most to least. What an
// owner alone may do is for people.
var KeyRoles = []MemberRole{Admin, Developer, Billing, Viewer}

// grants says which keys a role may make: none that may do more than itself.
var grants = map[MemberRole][]MemberRole{
	Owner:     KeyRoles,
	Admin:     KeyRoles,
	Developer: {Developer, Viewer},
}

// MayGrant reports whether a member or key of role r may make an API key of the
// other role.
func (r MemberRole) MayGrant(key MemberRole) bool { return key.In(grants[r]...) }
