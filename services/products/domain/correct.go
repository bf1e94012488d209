package domain

// Correction is a change of stock by staff: units received, or (negative) lost, broken or counted wrong.
type Correction struct {
	// Key identifies the request among all those about the SKU; empty for a request that will never be repeated.
	Key    string `json:"key"`
	Change int64  `json:"change"`
	Reason string `json:"reason"`
	// After is the level that the correction led to, which a repeat is answered with.
	After Level `json:"after"`
}

// MaxReason is the longest reason of a correction in characters.
const MaxReason = 200

// Check returns [Violations] when the correction breaks a rule.
func (c Correction) Check() error {
	var v Violations
	if c.Change == 0 || c.Change < -MaxOnHand || c.Change > MaxOnHand {
		v.add("change", "range", "must be from %d to %d and not 0", -MaxOnHand, MaxOnHand)
	}
	checkText(&v, "reason", c.Reason, 1, MaxReason)
	return v.asError()
}

// PastCorrection is what the archive says about one correction key when it held Archived of them.
type PastCorrection struct {
	Archived int64
	Found    *Correction
}

// Correct applies a correction that passed Check, once per key, and returns the level it led to. Errors: [ErrNotOpen],
// [ErrOtherCorrection], [ErrPast], and [ShortageError] or [Violations] when the stock would leave its bounds.
func (s *Stock) Correct(c Correction, past *PastCorrection) (after Level, changed bool, err error) {
	if !s.Exists() {
		return Level{}, false, ErrNotOpen
	}
	applied, err := s.applied(c.Key, past)
	switch {
	case err != nil:
		return Level{}, false, err
	case applied != nil && (applied.Change != c.Change || applied.Reason != c.Reason):
		return Level{}, false, ErrOtherCorrection
	case applied != nil:
		return applied.After, false, nil
	case s.OnHand+c.Change < s.Reserved:
		return Level{}, false, &ShortageError{Level: s.Level(), Change: c.Change}
	case s.OnHand+c.Change > MaxOnHand:
		return Level{}, false, Violations{{Field: "change", Code: "max", Message: "would bring the stock above its limit"}}
	}
	s.OnHand += c.Change
	s.Received += c.Change
	c.After = s.Level()
	if c.Key != "" {
		s.remember(c)
	}
	return c.After, true, nil
}

func (s *Stock) applied(key string, past *PastCorrection) (*Correction, error) {
	if key == "" {
		return nil, nil
	}
	for i := range s.Corrections {
		if s.Corrections[i].Key == key {
			return &s.Corrections[i], nil
		}
	}
	if s.CorrectionsArchived == 0 {
		return nil, nil
	}
	if past == nil || past.Archived != s.CorrectionsArchived {
		return nil, ErrPast
	}
	return past.Found, nil
}

func (s *Stock) remember(c Correction) {
	s.Corrections = append(s.Corrections, c)
	if len(s.Corrections) > KeepCorrections {
		oldest := s.Corrections[0]
		s.Archive(CorrectionKey(s.SKU, oldest.Key), oldest)
		s.Corrections = append([]Correction(nil), s.Corrections[1:]...)
		s.CorrectionsArchived++
	}
}

// CorrectionKey is the store key of an archived correction.
func CorrectionKey(sku, key string) string { return "stock-correction/" + sku + "/" + key }
