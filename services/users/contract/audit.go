package contract

import "caravan/internal/audit"

// The invariants of accounts that the audit checks.
const (
	// InvariantClaim: the address of an account is normalized and its claim refers to the account. So no two accounts have the
	// same address.
	InvariantClaim = "one-account-per-address"
	// InvariantIdentity: the id in a document is that of its key.
	InvariantIdentity = "account-is-its-key"
	// InvariantRoles: an account has known roles, each once.
	InvariantRoles = "roles-known"
	// InvariantSessions: an account does not list too many sessions, and all of them are its own.
	InvariantSessions = "sessions-own-and-bounded"
)

// AuditPage is one page of the audit. Its counts are users and sessions.
type AuditPage struct {
	audit.Page
	// Users are the ids of the accounts on this page, for a comparison by the service orders.
	Users []string `json:"users,omitempty"`
}
