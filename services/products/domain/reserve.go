package domain

import "time"

// Claim asks to hold Quantity units for an order at a unit price in minor units, until the sweep asks at ExpiresAt
// whether the order still needs them.
type Claim struct {
	Order
	Quantity  int64
	UnitPrice int64
	ExpiresAt time.Time
}

// Reserve holds the units of a claim and locks its price. If there is not enough stock it writes a tombstone, so that the
// refusal is final. A repeat returns the stored hold, whatever price the claim has by now. changed reports whether the
// document must be written. Errors: [ErrNotOpen], [ErrOtherQuantity], [ErrTooManyHolds], [ErrPast].
func (s *Stock) Reserve(c Claim, past *Past) (hold Hold, changed bool, err error) {
	if !s.Exists() {
		return Hold{}, false, ErrNotOpen
	}
	existing, err := s.find(c.Order, past)
	switch {
	case err != nil:
		return Hold{}, false, err
	case existing != nil && existing.Quantity != c.Quantity && existing.Quantity != 0:
		return Hold{}, false, ErrOtherQuantity
	case existing != nil:
		return *existing, false, nil
	case micros(c.PlacedAt) < s.CreatedAt:
		return Hold{OrderID: c.ID, State: Released, Reason: UnknownProduct, PlacedAt: micros(c.PlacedAt)}, false, nil
	case s.Level().Available() < c.Quantity:
		return s.tombstone(c.Order, OutOfStock, s.SKU), true, nil
	case s.active() >= MaxActiveHolds:
		return Hold{}, false, ErrTooManyHolds
	}
	hold = Hold{
		OrderID: c.ID, Quantity: c.Quantity, UnitPrice: c.UnitPrice, State: Reserved,
		PlacedAt: micros(c.PlacedAt), ExpiresAt: micros(c.ExpiresAt),
	}
	s.Holds = append(s.Holds, hold)
	s.Reserved += c.Quantity
	s.schedule()
	return hold, true, nil
}

// Refuse writes the tombstone of an order that cannot be reserved as a whole, unless the order has a hold here already:
// then that one decides. refused is the SKU that the reason is about, which may be another one. Errors: [ErrNotOpen], [ErrPast].
func (s *Stock) Refuse(o Order, reason Reason, refused string, past *Past) (hold Hold, changed bool, err error) {
	if !s.Exists() {
		return Hold{}, false, ErrNotOpen
	}
	existing, err := s.find(o, past)
	if err != nil {
		return Hold{}, false, err
	}
	if existing != nil {
		return *existing, false, nil
	}
	return s.tombstone(o, reason, refused), true, nil
}
