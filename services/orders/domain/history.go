package domain

import (
	"slices"

	"caravan/internal/event"
	"caravan/services/orders/contract"
)

// following says which events may follow in each state, and to which states each of them may lead. "" is the state before
// the first event.
var following = map[contract.Status]map[string][]contract.Status{
	"": {contract.EventPlaced: {contract.Placed}},
	contract.Placed: {
		contract.EventReserved:   {contract.Reserved},
		contract.EventCancelling: {contract.Cancelling},
		contract.EventRetried:    {contract.Placed},
	},
	contract.Reserved: {
		contract.EventAuthorized: {contract.Authorized},
		contract.EventCancelling: {contract.Cancelling},
		contract.EventRetried:    {contract.Reserved},
	},
	contract.Authorized: {
		contract.EventCapturing:  {contract.Capturing},
		contract.EventCancelling: {contract.Cancelling},
		contract.EventRetried:    {contract.Authorized},
	},
	contract.Capturing: {
		contract.EventConfirmed: {contract.Confirmed},
		contract.EventRetried:   {contract.Capturing},
	},
	contract.Cancelling: {
		contract.EventCancelled: {contract.Cancelled},
		contract.EventRejected:  {contract.Rejected},
		contract.EventRetried:   {contract.Cancelling},
	},
	contract.Confirmed: {contract.EventRefunding: {contract.Refunding}},
	contract.Refunding: {
		contract.EventRefunded: {contract.Refunded, contract.Confirmed},
		contract.EventRetried:  {contract.Refunding},
	},
}

// Following returns the state to which an event leads from a state, or "" if the saga does not allow it. The audit follows
// timelines with it.
func Following(at contract.Status, e event.Event) contract.Status {
	var fact contract.Fact
	if e.Decode(&fact) != nil || !slices.Contains(following[at][e.Type], fact.Status) {
		return ""
	}
	return fact.Status
}
