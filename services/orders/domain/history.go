package domain

import (
	"encoding/json"
	"slices"

	"caravan/internal/event"
	"caravan/services/orders/contract"
)

// paths says which events may follow in each state; "" is before the first.
var paths = map[contract.Status][]string{
	"":                  {contract.EventPlaced},
	contract.Placed:     {contract.EventReserved, contract.EventCancelling, contract.EventRetried},
	contract.Reserved:   {contract.EventAuthorized, contract.EventCancelling, contract.EventRetried},
	contract.Authorized: {contract.EventCapturing, contract.EventCancelling, contract.EventRetried},
	contract.Capturing:  {contract.EventConfirmed, contract.EventRetried},
	contract.Cancelling: {contract.EventCancelled, contract.EventRejected, contract.EventRetried},
	contract.Confirmed:  {contract.EventRefunding},
	contract.Refunding:  {contract.EventRefunded, contract.EventRetried},
}

// Following is the state that an event leads to from a state, or "" if the saga
// has no such path. The audit replays timelines with it.
func Following(at contract.Status, e event.Event) contract.Status {
	var fact contract.Fact
	if !slices.Contains(paths[at], e.Type) || json.Unmarshal(e.Data, &fact) != nil {
		return ""
	}
	if e.Type == contract.EventRetried && fact.Status != at {
		return "" // it moves nothing
	}
	return fact.Status
}
