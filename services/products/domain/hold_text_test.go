package domain

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestHoldsSurviveTheirText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Int64Min(0)
		hold := rapid.Custom(func(t *rapid.T) Hold {
			h := Hold{
				OrderID:  rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "order"),
				Quantity: number.Draw(t, "quantity"), UnitPrice: number.Draw(t, "price"), PlacedAt: rapid.Int64().Draw(t, "placed"),
				State: rapid.SampledFrom([]State{Reserved, Committed, Released}).Draw(t, "state"),
			}
			switch h.State {
			case Reserved:
				h.ExpiresAt = number.Draw(t, "expires")
			case Released:
				h.Reason = rapid.SampledFrom([]Reason{OutOfStock, PriceChanged, UnknownProduct, ByOrder, Expired}).Draw(t, "reason")
				h.RefusedSKU = rapid.SampledFrom([]string{"", "CUP-1"}).Draw(t, "refused")
			}
			return h
		})
		holds := Holds(rapid.SliceOfN(hold, 1, 20).Draw(t, "holds"))
		data, err := json.Marshal(holds)
		if err != nil {
			t.Fatal(err)
		}
		var back Holds
		if err := json.Unmarshal(data, &back); err != nil || !slices.Equal(holds, back) {
			t.Fatalf("%v became %v: %v", holds, back, err)
		}
	})
}

// Whatever bytes the store gives back: an error or holds that are written and read as the same.
func FuzzHolds(f *testing.F) {
	for _, seed := range []string{
		"", "o 1 2 reserved 3 4", "o 1 2 committed 3|p 0 0 released 3 out_of_stock CUP-1", "o 1 2 committed 3 4", "o 1 2", "|",
		"o 1 2 released 3", "o 1 2 released 3 x y z", "ö 1 2 committed 3", "o 01 2 committed 3", "o 1 2 maybe 3",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var holds, back Holds
		if holds.UnmarshalText(data) != nil {
			return
		}
		text, err := holds.MarshalText()
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", data, err)
		}
		if err := back.UnmarshalText(text); err != nil || !slices.Equal(holds, back) {
			t.Fatalf("%q became %q: %v", data, text, err)
		}
	})
}
