package sim

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Sabotage breaks a rule that everything rests on. A simulation that does not notice would prove
// nothing; the tests plant each of these and demand that it is found.
type Sabotage string

// What can be broken.
const (
	// LastWriteWins: the store takes writes whatever their ETag.
	LastWriteWins Sabotage = "the last write wins"
	// WritesVanish: the store confirms one write in a hundred and forgets it.
	WritesVanish Sabotage = "confirmed writes vanish"
	// BrokerOnly: the feeds are empty, so that events come by the broker or not at all.
	BrokerOnly Sabotage = "events come by the broker only"
	// ReleaseForgotten: the compensation of a reservation is answered and not done.
	ReleaseForgotten Sabotage = "releases are forgotten"
	// VoidForgotten: the same for the hold on the money.
	VoidForgotten Sabotage = "voids are forgotten"
	// CommitForgotten: units of confirmed orders do not leave the stock.
	CommitForgotten Sabotage = "commits are forgotten"
	// CaptureForgotten: money of confirmed orders does not leave the wallet.
	CaptureForgotten Sabotage = "captures are forgotten"
	// RefundForgotten: money of refunded orders does not come back.
	RefundForgotten Sabotage = "refunds are forgotten"
	// FailuresRemembered: the wallet is not reached for some orders, which is remembered as the answer to every
	// repeat.
	FailuresRemembered Sabotage = "failures are remembered as refusals"
	// FreshKeys: each repetition of a request comes with another idempotency key.
	FreshKeys Sabotage = "repetitions come with a fresh key"
)

// commands are those that a sabotage answers without carrying them out.
var commands = map[Sabotage]struct{ app, method, outcome string }{
	ReleaseForgotten: {"products", "/internal/release", "released"},
	VoidForgotten:    {"payments", "/internal/void", "voided"},
	CommitForgotten:  {"products", "/internal/commit", "committed"},
	CaptureForgotten: {"payments", "/internal/capture", "captured"},
	RefundForgotten:  {"payments", "/internal/refund", "refunded"},

	FailuresRemembered: {"payments", "/internal/authorize", "insufficient_funds"},
}

// forgotten is the answer to a call that is not carried out, if the sabotage is of that kind.
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
	if s == FailuresRemembered && asked.Commands[0].Command.OrderID[:1] > "3" { // three orders of four
		return nil
	}
	results := make([]string, len(asked.Commands))
	for n := range results {
		results[n] = `{"result":{"outcome":"` + c.outcome + `"}}`
	}
	return respond(http.StatusOK, "application/json", []byte(`{"results":[`+strings.Join(results, ",")+`]}`))
}
