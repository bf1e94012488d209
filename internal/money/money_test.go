package money

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func anyMoney() *rapid.Generator[Money] {
	return rapid.Custom(func(t *rapid.T) Money {
		return New(rapid.Int64().Draw(t, "amount"), rapid.SampledFrom([]string{"EUR", "JPY", "KWD"}).Draw(t, "currency"))
	})
}

// exact compares a result with the same calculation in unbounded integers.
func exact(t *rapid.T, got Money, err error, want *big.Int) {
	switch {
	case want.IsInt64() && (err != nil || got.Amount != want.Int64()):
		t.Fatalf("got %v, %v; want %v", got, err, want)
	case !want.IsInt64() && !errors.Is(err, ErrOverflow):
		t.Fatalf("got %v, %v; want an overflow", got, err)
	}
}

func TestArithmeticIsExactOrRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyMoney().Draw(t, "a"), anyMoney().Draw(t, "b")
		n := rapid.Int64().Draw(t, "n")
		x, y := big.NewInt(a.Amount), big.NewInt(b.Amount)
		product, err := a.Mul(n)
		exact(t, product, err, new(big.Int).Mul(x, big.NewInt(n)))

		sum, addErr := a.Add(b)
		difference, subErr := a.Sub(b)
		order, cmpErr := a.Cmp(b)
		if a.Currency != b.Currency {
			if !errors.Is(addErr, ErrCurrency) || !errors.Is(subErr, ErrCurrency) || !errors.Is(cmpErr, ErrCurrency) {
				t.Fatalf("two currencies were mixed: %v, %v, %v", addErr, subErr, cmpErr)
			}
			return
		}
		exact(t, sum, addErr, new(big.Int).Add(x, y))
		exact(t, difference, subErr, new(big.Int).Sub(x, y))
		if cmpErr != nil || order != x.Cmp(y) {
			t.Fatalf("comparing gave %d, %v", order, cmpErr)
		}
	})
}

func TestTheEndsOfTheRange(t *testing.T) {
	lowest, highest := New(math.MinInt64, "EUR"), New(math.MaxInt64, "EUR")
	if _, err := lowest.Mul(-1); !errors.Is(err, ErrOverflow) {
		t.Errorf("the lowest amount was negated: %v", err)
	}
	if _, err := New(-1, "EUR").Mul(math.MinInt64); !errors.Is(err, ErrOverflow) {
		t.Errorf("minus one was multiplied by the lowest number: %v", err)
	}
	if _, err := highest.Add(New(1, "EUR")); !errors.Is(err, ErrOverflow) {
		t.Errorf("the highest amount was raised: %v", err)
	}
	if _, err := New(0, "EUR").Sub(lowest); !errors.Is(err, ErrOverflow) {
		t.Errorf("the lowest amount was subtracted from nothing: %v", err)
	}
	if got := lowest.String(); got != "-92233720368547758.08 EUR" {
		t.Errorf("the lowest amount is written %q", got)
	}
}

func TestStringUsesTheDecimalsOfTheCurrency(t *testing.T) {
	for want, m := range map[string]Money{
		"19.99 EUR":  New(1999, "EUR"),
		"0.05 USD":   New(5, "USD"),
		"-0.05 USD":  New(-5, "USD"),
		"1200 JPY":   New(1200, "JPY"),
		"0 JPY":      New(0, "JPY"),
		"-0.005 KWD": New(-5, "KWD"),
		"1.00":       New(100, ""),
	} {
		if got := m.String(); got != want {
			t.Errorf("%+v is written %q, not %q", m, got, want)
		}
	}
}

func TestParseReadsWhatStringWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMoney().Draw(t, "m")
		if got, err := Parse(m.String()); err != nil || got != m {
			t.Fatalf("%q was read as %v, %v", m, got, err)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]error{
		"": ErrSyntax, "EUR": ErrSyntax, "1.00": ErrSyntax, "1.00  EUR": ErrCurrency, " 1.00 EUR": ErrCurrency,
		"1 EUR": ErrSyntax, "1.0 EUR": ErrSyntax, "1.000 EUR": ErrSyntax, "1. JPY": ErrSyntax, "1.00 JPY": ErrSyntax,
		"+1.00 EUR": ErrSyntax, "01.00 EUR": ErrSyntax, "-0.00 EUR": ErrSyntax, ".50 EUR": ErrSyntax, "1,00 EUR": ErrSyntax,
		"1.-1 EUR": ErrSyntax, "1_0.00 EUR": ErrSyntax, "1.00 eur": ErrCurrency, "1.00 XXX": ErrCurrency, "1.00 EURO": ErrCurrency,
		"92233720368547758.08 EUR": ErrOverflow,
	} {
		if m, err := Parse(text); !errors.Is(err, want) {
			t.Errorf("%q was read as %v, %v; want %v", text, m, err, want)
		}
	}
}

func TestValidateKnowsTheCurrencies(t *testing.T) {
	for _, code := range []string{"EUR", "AED", "ZWG", "JPY", "BIF", "XPF", "BHD", "TND"} {
		if err := New(1, code).Validate(); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	for _, code := range []string{"", "eur", "EU", "EURO", "XXX", "XTS", "XAU", "AB ", " AE", "   ", "ZZZ", "\xff\xfe\xfd"} {
		if err := New(1, code).Validate(); !errors.Is(err, ErrCurrency) {
			t.Errorf("%q: %v", code, err)
		}
	}
	if (Money{}).Validate() == nil {
		t.Error("no money at all is valid")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"19.99 EUR", "-0.005 KWD", "1200 JPY", "1.00 XXX", "99999999999999999999 JPY", "-.5 EUR"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		if m.String() != text || m.Validate() != nil {
			t.Errorf("%q was read as %+v, which is written %q", text, m, m)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"amount":1999,"currency":"EUR"}`, `{"amount":-9223372036854775808,"currency":"JPY"}`, `{"amount":1e3}`, `{"amount":1.5}`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Money
		if json.Unmarshal(data, &m) != nil {
			return
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var again Money
		if err := json.Unmarshal(text, &again); err != nil || again != m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
		_ = m.String() // an amount of any currency can be written
	})
}
