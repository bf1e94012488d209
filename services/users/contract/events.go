package contract

// The types of the events. Their payloads contain ids and roles, and no personal data.
const (
	EventRegistered      = "users.registered.v1"       // payload Registered
	EventRolesChanged    = "users.roles_changed.v1"    // payload RolesChanged
	EventSessionsRevoked = "users.sessions_revoked.v1" // payload SessionsRevoked
	// EventVerificationRequested and EventPasswordResetRequested ask for a mail with a token, see PathMailToken.
	EventVerificationRequested  = "users.verification_requested.v1"   // payload MailRequested
	EventPasswordResetRequested = "users.password_reset_requested.v1" // payload MailRequested
	EventSignedIn               = "users.signed_in.v1"                // payload SignedIn
	EventPasswordChanged        = "users.password_changed.v1"         // payload PasswordChanged
)

// Registered is the payload of a new account.
type Registered struct {
	UserID string   `json:"userId"`
	Roles  []string `json:"roles"`
}

// RolesChanged is the payload of a change of roles. It has all roles of the user.
type RolesChanged struct {
	UserID    string   `json:"userId"`
	Roles     []string `json:"roles"`
	ChangedBy string   `json:"changedBy"` // id of the admin who did it, or "bootstrap" for the first admin
}

// Why sessions were revoked.
const (
	RevokedLoggedOut       = "logged_out"       // the user ended this session
	RevokedPasswordChanged = "password_changed" // the user's other sessions end with the old password
	RevokedPasswordReset   = "password_reset"   // all sessions end, as somebody else may have had the password
	RevokedReuse           = "reuse"            // a used refresh token was presented again, so somebody may have stolen it
	RevokedDisplaced       = "displaced"        // the oldest session ended because the account had too many
)

// SessionsRevoked is the payload of sessions that ended before they expired. Their access tokens expire at most five minutes
// later.
type SessionsRevoked struct {
	UserID     string   `json:"userId"`
	SessionIDs []string `json:"sessionIds"`
	Reason     string   `json:"reason"`
}

// MailRequested is the payload of a request for a mail with a token. The token is not in it.
type MailRequested struct {
	UserID    string `json:"userId"`
	RequestID string `json:"requestId"`
}

// SignedIn is the payload of a login by a device that the user did not use before. It does not say which.
type SignedIn struct {
	UserID string `json:"userId"`
}

// PasswordChanged is the payload of a new password, by its owner or by a reset.
type PasswordChanged struct {
	UserID string `json:"userId"`
}
