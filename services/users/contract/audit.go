package contract

import "caravan/internal/audit"

// The invariants of accounts that the audit checks.
const (
	// InvariantClaim: an account's address is normalized and its claim names the account, so no two share one.
	InvariantClaim = "one-account-per-address"
	// InvariantIdentity: a document is what its key says.
	InvariantIdentity = "account-is-its-key"
	// InvariantRoles: an account has known roles, each once.
	InvariantRoles = "roles-known"
	// InvariantSessions: an account lists no more sessions than it may, all its own.
	InvariantSessions = "sessions-own-and-bounded"
)

// AuditPage is one page of the audit. Its counts are users and sessions.
type AuditPage struct {
	audit.Page
	// Users are the ids of the accounts met on this page, for a cross check by orders.
	Users []string `json:"users,omitempty"`
}
