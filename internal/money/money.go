// Package money has exact amounts of one currency. Amounts are integers of the currency's minor unit (cents for EUR,
// whole yen for JPY), so no sum is ever rounded. Operations that would leave the range of int64 or mix two currencies
// return an error and never a wrong number.
package money

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

var (
	// ErrOverflow means that a result does not fit into an int64 of minor units.
	ErrOverflow = errors.New("money: the amount is out of range")
	// ErrCurrency means that two amounts have different currencies, or that a currency is not an active ISO 4217 code.
	ErrCurrency = errors.New("money: the currencies do not match or are unknown")
	// ErrSyntax means that a text is not an amount in the form of String.
	ErrSyntax = errors.New("money: not an amount")
)

// Money is an amount of one currency. The zero value has no currency and is not Valid.
type Money struct {
	// Amount counts minor units and may be negative (a ledger's debit).
	Amount int64 `json:"amount"`
	// Currency is an ISO 4217 code in upper case.
	Currency string `json:"currency"`
}

// New makes an amount of minor units. It does not check the currency; Validate does.
func New(amount int64, currency string) Money {
	return Money{Amount: amount, Currency: currency}
}

// Add returns m+o. Errors: ErrCurrency, ErrOverflow.
func (m Money) Add(o Money) (Money, error) {
	if m.Currency != o.Currency {
		return Money{}, fmt.Errorf("adding %s and %s: %w", m, o, ErrCurrency)
	}
	sum := m.Amount + o.Amount
	if (o.Amount > 0 && sum < m.Amount) || (o.Amount < 0 && sum > m.Amount) {
		return Money{}, fmt.Errorf("adding %s and %s: %w", m, o, ErrOverflow)
	}
	return Money{Amount: sum, Currency: m.Currency}, nil
}

// Sub returns m-o. Errors: ErrCurrency, ErrOverflow.
func (m Money) Sub(o Money) (Money, error) {
	if m.Currency != o.Currency {
		return Money{}, fmt.Errorf("subtracting %s from %s: %w", o, m, ErrCurrency)
	}
	difference := m.Amount - o.Amount
	if (o.Amount > 0 && difference > m.Amount) || (o.Amount < 0 && difference < m.Amount) {
		return Money{}, fmt.Errorf("subtracting %s from %s: %w", o, m, ErrOverflow)
	}
	return Money{Amount: difference, Currency: m.Currency}, nil
}

// Mul returns m times n, for example a unit price times a quantity. Error: ErrOverflow.
func (m Money) Mul(n int64) (Money, error) {
	if m.Amount == 0 || n == 0 {
		return Money{Currency: m.Currency}, nil
	}
	product := m.Amount * n
	// math.MinInt64 * -1 wraps to itself, and the division does not detect that. Hence the second test.
	if product/n != m.Amount || (m.Amount == math.MinInt64 && n == -1) || (n == math.MinInt64 && m.Amount == -1) {
		return Money{}, fmt.Errorf("multiplying %s by %d: %w", m, n, ErrOverflow)
	}
	return Money{Amount: product, Currency: m.Currency}, nil
}

// IsZero reports whether the amount is zero in any currency.
func (m Money) IsZero() bool { return m.Amount == 0 }

// Cmp returns -1, 0 or 1 if m is less than, equal to or greater than o. Error: ErrCurrency.
func (m Money) Cmp(o Money) (int, error) {
	switch {
	case m.Currency != o.Currency:
		return 0, fmt.Errorf("comparing %s and %s: %w", m, o, ErrCurrency)
	case m.Amount < o.Amount:
		return -1, nil
	case m.Amount > o.Amount:
		return 1, nil
	}
	return 0, nil
}

// Validate returns ErrCurrency unless the currency is an active ISO 4217 code. It accepts any amount: its caller
// decides whether the amount may be negative.
func (m Money) Validate() error {
	if !Known(m.Currency) {
		return fmt.Errorf("currency %.16q: %w", m.Currency, ErrCurrency)
	}
	return nil
}

// String writes the amount in major units for people, "19.99 EUR", "1200 JPY" or "-0.005 KWD". The number of decimals
// is the currency's exponent of ISO 4217; an unknown currency has two.
func (m Money) String() string {
	digits := Decimals(m.Currency)
	magnitude := strconv.FormatUint(absolute(m.Amount), 10)
	if len(magnitude) <= digits {
		magnitude = strings.Repeat("0", digits-len(magnitude)+1) + magnitude
	}
	var b strings.Builder
	if m.Amount < 0 {
		b.WriteByte('-')
	}
	whole := len(magnitude) - digits
	b.WriteString(magnitude[:whole])
	if digits > 0 {
		b.WriteByte('.')
		b.WriteString(magnitude[whole:])
	}
	if m.Currency != "" {
		b.WriteByte(' ')
		b.WriteString(m.Currency)
	}
	return b.String()
}

// Parse reads only what String writes for a known currency: exactly the currency's number of decimals, one space, the
// code. Errors: ErrSyntax, ErrCurrency, ErrOverflow.
func Parse(text string) (Money, error) {
	number, currency, found := strings.Cut(text, " ")
	if !found {
		return Money{}, fmt.Errorf("parsing %.40q: %w", text, ErrSyntax)
	}
	if !Known(currency) {
		return Money{}, fmt.Errorf("parsing %.40q: %w", text, ErrCurrency)
	}
	whole, fraction, point := strings.Cut(number, ".")
	if digits := Decimals(currency); len(fraction) != digits || point != (digits > 0) {
		return Money{}, fmt.Errorf("parsing %.40q: %w", text, ErrSyntax)
	}
	amount, err := strconv.ParseInt(whole+fraction, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return Money{}, fmt.Errorf("parsing %.40q: %w", text, ErrOverflow)
	}
	m := Money{Amount: amount, Currency: currency}
	// One amount has one form: "+1.00", "01.00" and "-0.00" are refused.
	if err != nil || m.String() != text {
		return Money{}, fmt.Errorf("parsing %.40q: %w", text, ErrSyntax)
	}
	return m, nil
}

// absolute returns |n| without the overflow of -math.MinInt64.
func absolute(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}
