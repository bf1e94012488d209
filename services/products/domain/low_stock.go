package domain

// CheckLow compares the units that can be sold with a threshold, after a change of the stock. It reports whether they have fallen
// below it since the stock was last enough: one crossing is reported once, however many orders follow. Stock is enough again when
// staff have brought it to the threshold (restocked), or when twice the threshold can be sold: orders that fail give their units
// back, and without that margin a stock around the threshold would be reported with each of them. A threshold of 0 reports nothing.
func (s *Stock) CheckLow(threshold int64, restocked bool) bool {
	available := s.Level().Available()
	switch {
	case s.Low:
		s.Low = available < threshold || available < 2*threshold && !restocked
	case available < threshold:
		s.Low = true
		return true
	}
	return false
}
