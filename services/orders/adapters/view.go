package adapters

import (
	"encoding/json"
	"strings"
	"time"

	"caravan/internal/money"
	"caravan/services/orders/app"
	"caravan/services/orders/contract"
	"caravan/services/orders/domain"
)

// view is an order as the API shows it.
type view struct {
	ID        string          `json:"id"`
	UserID    string          `json:"userId,omitempty"`
	Status    contract.Status `json:"status"`
	Reason    string          `json:"reason,omitempty"`
	Lines     []lineView      `json:"lines"`
	Total     *money.Money    `json:"total,omitempty"`
	Refunded  *money.Money    `json:"refunded,omitempty"`
	Waiting   *waitingView    `json:"waiting,omitempty"`
	PlacedAt  time.Time       `json:"placedAt"`
	UpdatedAt time.Time       `json:"updatedAt"`
	Timeline  []moment        `json:"timeline,omitempty"`
}

type lineView struct {
	SKU       string       `json:"sku"`
	Name      string       `json:"name,omitempty"`
	Quantity  int64        `json:"quantity"`
	UnitPrice *money.Money `json:"unitPrice,omitempty"`
	LineTotal *money.Money `json:"lineTotal,omitempty"`
}

type waitingView struct {
	Step          string    `json:"step"`
	Reason        string    `json:"reason"`
	Attempts      int       `json:"attempts"`
	NextAttemptAt time.Time `json:"nextAttemptAt"`
	// Since and AgeSeconds say since when and for how long the order waits. They are for staff.
	Since      time.Time `json:"since,omitzero"`
	AgeSeconds *int64    `json:"ageSeconds,omitempty"`
}

// moment is one entry of the timeline.
type moment struct {
	// Type is the event type without service and version, such as "confirmed".
	Type     string    `json:"type"`
	Time     time.Time `json:"time"`
	Sequence int64     `json:"sequence"`
	Detail   string    `json:"detail,omitempty"`
	// By is the member of staff who intervened. Note is the reason they gave. Both are for staff.
	By   string `json:"by,omitempty"`
	Note string `json:"note,omitempty"`
}

// viewOf shows one order with its timeline. Staff also see which of them did what.
func viewOf(o *domain.Order, staff bool) view {
	v := summary(o)
	for _, e := range o.Timeline {
		name := strings.TrimSuffix(strings.TrimPrefix(e.Type, contract.App+"."), ".v1")
		var fact contract.Fact
		_ = json.Unmarshal(e.Data, &fact) // it is our own event; the timeline shows it even without its details
		m := moment{Type: name, Time: e.Time, Sequence: e.Sequence, Detail: fact.Reason}
		if staff {
			m.By, m.Note = fact.By, fact.Note
		}
		v.Timeline = append(v.Timeline, m)
	}
	return v
}

// summary shows an order as an item of a list.
func summary(o *domain.Order) view {
	v := view{
		ID: o.ID, UserID: o.UserID, Status: o.Status, Reason: o.Reason, Lines: make([]lineView, len(o.Lines)),
		Total: known(o.Total), PlacedAt: o.PlacedAt, UpdatedAt: o.UpdatedAt,
	}
	if o.Refunded.Amount > 0 {
		v.Refunded = known(o.Refunded)
	}
	for i, l := range o.Lines {
		v.Lines[i] = lineView{SKU: l.SKU, Name: l.Name, Quantity: l.Quantity, UnitPrice: known(l.UnitPrice), LineTotal: known(l.LineTotal)}
	}
	if w := o.Waiting; w != nil {
		v.Waiting = &waitingView{Step: w.Step, Reason: w.Reason, Attempts: w.Attempts, NextAttemptAt: w.NextAttemptAt}
	}
	return v
}

// known returns nil for money that no step has set yet.
func known(m money.Money) *money.Money {
	if m.Currency == "" {
		return nil
	}
	return &m
}

// stalled shows an order with what it waits for, and for how long.
func stalled(l app.Listed) view {
	v := summary(l.Order)
	if s := l.Stall; s != nil {
		age := int64(max(s.Age, 0) / time.Second)
		v.Waiting = &waitingView{
			Step: s.Step, Reason: s.Reason, Attempts: s.Attempts, NextAttemptAt: s.NextAttemptAt, Since: s.Since, AgeSeconds: &age,
		}
	}
	return v
}
