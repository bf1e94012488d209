// Package contract is what other programs may know of the users service: its paths, its roles and permissions, its events
// and the form of its audit.
package contract

// App is the Dapr app id of the users service, and the name of its topic.
const App = "users"

// The names every access token carries (RFC 9068, section 2.2): who issued it, which API it is for, and through which
// client it was obtained. Caravan has one first-party client.
const (
	Issuer   = "caravan"
	Audience = "caravan-api"
	ClientID = "caravan"
)

// Paths of the users service that other programs call through their sidecar. They are fixed, with no ids inside,
// because Dapr keys its circuit breakers by app and path.
const (
	PathKeys  = "/internal/keys"  // POST {} answers the JSON Web Key Set
	PathAudit = "/internal/audit" // the service's own invariants
	PathJWKS  = "/.well-known/jwks.json"
)
