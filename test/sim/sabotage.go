package sim

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Sabotage breaks a rule that everything depends on. A simulation that does not notice would prove nothing. The tests
// plant each of these and require that it is found.
type Sabotage string

// The rules that can be broken.
const (
	// LastWriteWins: the store accepts writes with any ETag.
	LastWriteWins Sabotage = "the last write wins"
	// WritesVanish: the store confirms one write in a hundred without storing it.
	WritesVanish Sabotage = "confirmed writes vanish"
	// BrokerOnly: the feeds are empty, so that only the broker delivers events.
	BrokerOnly Sabotage = "events come by the broker only"
	// ReleaseForgotten: the compensation of a reservation is answered but not done.
	ReleaseForgotten Sabotage = "releases are forgotten"
	// VoidForgotten: the same for the hold on the money.
	VoidForgotten Sabotage = "voids are forgotten"
	// CommitForgotten: units of confirmed orders stay in stock.
	CommitForgotten Sabotage = "commits are forgotten"
	// CaptureForgotten: money of confirmed orders stays in the wallet.
	CaptureForgotten Sabotage = "captures are forgotten"
	// RefundForgotten: money of refunded orders is not returned.
	RefundForgotten Sabotage = "refunds are forgotten"
	// FailuresRemembered: for some orders the wallet is unavailable, and this is remembered as the answer to every
	// repeat.
	FailuresRemembered Sabotage = "failures are remembered as refusals"
	// SentForgotten: the store confirms that an e-mail was sent, and does not store it.
	SentForgotten Sabotage = "sent e-mails are forgotten"
	// FreshKeys: each repeat of a request has another idempotency key.
	FreshKeys Sabotage = "repetitions come with a fresh key"
)

// commands are the commands that a sabotage answers without executing them.
var commands = map[Sabotage]struct{ app, method, outcome string }{
	ReleaseForgotten: {"products", "/internal/release", "released"},
	VoidForgotten:    {"payments", "/internal/void", "voided"},
	CommitForgotten:  {"products", "/internal/commit", "committed"},
	CaptureForgotten: {"payments", "/internal/capture", "captured"},
	RefundForgotten:  {"payments", "/internal/refund", "refunded"},

	FailuresRemembered: {"payments", "/internal/authorize", "insufficient_funds"},
}

// forgotten is the answer to a call that is not executed, if the sabotage is of that kind.
func (s Sabotage) forgotten(i *invocation) *http.Response {
	if s == BrokerOnly && i.method == "/internal/feed" {
		return respond(http.StatusOK, "application/json", []byte(`{"events":[],"end":true}`))
	}
	c, ok := commands[s]
	if !ok || c.app != i.app || c.method != i.method {
		return nil
	}
	var asked struct {
		Commands []struct {
			Command struct{ OrderID string } `json:"command"`
		} `json:"commands"`
	}
	if json.Unmarshal(i.request.body, &asked) != nil || len(asked.Commands) == 0 {
		return nil
	}
	if s == FailuresRemembered && asked.Commands[0].Command.OrderID[:1] > "3" { // three of four orders
		return nil
	}
	results := make([]string, len(asked.Commands))
	for n := range results {
		results[n] = `{"result":{"outcome":"` + c.outcome + `"}}`
	}
	return respond(http.StatusOK, "application/json", []byte(`{"results":[`+strings.Join(results, ",")+`]}`))
}
