// Package contract is what other programs may know of the users service: its paths, its roles and permissions, its events
// and the form of its audit.
package contract

// App is the Dapr app id of the users service, and the name of its topic.
const App = "users"

// Claims of every access token (RFC 9068, section 2.2): the issuer, the API that it is for, and the client that got it.
// Caravan has one client, which is its own.
const (
	Issuer   = "caravan"
	Audience = "caravan-api"
	ClientID = "caravan"
)

// Paths that other programs call through their sidecar. They contain no ids, because Dapr has one circuit breaker for each app
// and path.
const (
	PathKeys  = "/internal/keys"  // POST {} answers the JSON Web Key Set
	PathAudit = "/internal/audit" // the service's own invariants
	PathJWKS  = "/.well-known/jwks.json"
)
