package domain

// Commit takes the held units of an order out of the stock, once. An order without a hold gets a tombstone, and one
// whose hold was released stays released: see the returned hold. Errors: [ErrNotOpen], [ErrPast].
func (s *Stock) Commit(o Order, past *Past) (hold Hold, changed bool, err error) {
	return s.end(o, Committed, "", past)
}

// Release gives the held units of an order back, once. An order without a hold gets a tombstone, so that a reserve that
// arrives later is refused; one whose units were committed stays committed: see the returned hold. Errors: [ErrNotOpen],
// [ErrPast].
func (s *Stock) Release(o Order, reason Reason, past *Past) (hold Hold, changed bool, err error) {
	return s.end(o, Released, reason, past)
}

func (s *Stock) end(o Order, state State, reason Reason, past *Past) (Hold, bool, error) {
	if !s.Exists() {
		return Hold{}, false, ErrNotOpen
	}
	existing, err := s.find(o, past)
	switch {
	case err != nil:
		return Hold{}, false, err
	case existing == nil:
		return s.tombstone(o, ByOrder, s.SKU), true, nil
	case existing.State == Reserved:
		return s.finish(existing, state, reason), true, nil
	}
	return *existing, false, nil
}
