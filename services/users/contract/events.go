package contract

// The types of the events on Topic. Their payloads carry ids and roles, never personal data.
const (
	EventRegistered      = "users.registered.v1"       // payload Registered
	EventRolesChanged    = "users.roles_changed.v1"    // payload RolesChanged
	EventSessionsRevoked = "users.sessions_revoked.v1" // payload SessionsRevoked
)

// Registered says that a user exists from now on.
type Registered struct {
	UserID string   `json:"userId"`
	Roles  []string `json:"roles"`
}

// RolesChanged says which roles a user has from now on.
type RolesChanged struct {
	UserID    string   `json:"userId"`
	Roles     []string `json:"roles"`
	ChangedBy string   `json:"changedBy"` // id of the admin who decided it; "bootstrap" for the configured one
}

// Why sessions were revoked.
const (
	RevokedLoggedOut       = "logged_out"       // the user ended this session
	RevokedPasswordChanged = "password_changed" // the user's other sessions end with the old password
	RevokedReuse           = "reuse"            // a used refresh token came back: one of its two holders stole it
	RevokedDisplaced       = "displaced"        // the oldest session, ended to make room for a new one
)

// SessionsRevoked says that sessions of a user ended before their time. Access tokens they were given still run out
// on their own, at most five minutes later.
type SessionsRevoked struct {
	UserID     string   `json:"userId"`
	SessionIDs []string `json:"sessionIds"`
	Reason     string   `json:"reason"`
}
