package domain_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"caravan/internal/money"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
)

func TestMoney(t *testing.T) {
	for _, test := range []struct {
		money           money.Money
		english, german string
	}{
		{money.New(0, "EUR"), "0.00 EUR", "0,00 EUR"},
		{money.New(5, "EUR"), "0.05 EUR", "0,05 EUR"},
		{money.New(123456789, "EUR"), "1,234,567.89 EUR", "1.234.567,89 EUR"},
		{money.New(-199950, "USD"), "-1,999.50 USD", "-1.999,50 USD"},
		{money.New(1200, "JPY"), "1,200 JPY", "1.200 JPY"},
		{money.New(12001, "KWD"), "12.001 KWD", "12,001 KWD"},
		{money.New(9223372036854775807, "EUR"), "92,233,720,368,547,758.07 EUR", "92.233.720.368.547.758,07 EUR"},
		{money.New(-9223372036854775808, "EUR"), "-92,233,720,368,547,758.08 EUR", "-92.233.720.368.547.758,08 EUR"},
	} {
		if got := domain.English.Money(test.money); got != test.english {
			t.Errorf("%s in English is %q", test.money, got)
		}
		if got := domain.German.Money(test.money); got != test.german {
			t.Errorf("%s in German is %q", test.money, got)
		}
	}
}

// Each locale writes exactly the digits of the amount.
func TestMoneyIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := money.New(rapid.Int64().Draw(t, "amount"), rapid.SampledFrom([]string{"EUR", "JPY", "KWD", "CLF"}).Draw(t, "currency"))
		english := strings.ReplaceAll(domain.English.Money(m), ",", "")
		german := strings.ReplaceAll(strings.ReplaceAll(domain.German.Money(m), ".", ""), ",", ".")
		if english != m.String() || german != m.String() {
			t.Fatalf("%s is %s and %s", m, english, german)
		}
	})
}

func TestTime(t *testing.T) {
	for zone, want := range map[int][2]string{
		0:      {"1 March 2026, 12:00 (UTC)", "1. März 2026, 12:00 Uhr (UTC)"},
		3600:   {"1 March 2026, 13:00 (UTC+1)", "1. März 2026, 13:00 Uhr (UTC+1)"},
		-12600: {"1 March 2026, 08:30 (UTC-3:30)", "1. März 2026, 08:30 Uhr (UTC-3:30)"},
	} {
		at := noon.In(time.FixedZone("", zone))
		if english, german := domain.English.Time(at), domain.German.Time(at); english != want[0] || german != want[1] {
			t.Errorf("%d s is %q and %q", zone, english, german)
		}
	}
	if got := domain.Locale("fr").Time(noon); got != "1 March 2026, 12:00 (UTC)" {
		t.Errorf("an unknown locale writes %q", got)
	}
}

func TestGermanText(t *testing.T) {
	tests := []struct {
		typ  string
		data domain.Data
		body string
	}{
		{orders.EventRejected, domain.Data{Reason: "unknown_product"}, "konnte nicht ausgeführt werden: ein Artikel wird nicht mehr verkauft. Ihnen wurde"},
		{orders.EventRejected, domain.Data{Reason: "price_changed"}, "ein Preis hat sich geändert, bevor wir den Artikel reservieren konnten. Bitte sehen Sie sich die Bestellung noch einmal an. Ihnen"},
		{orders.EventRejected, domain.Data{Reason: "currency_mismatch"}, "der erwartete Betrag hat eine andere Währung als unsere Preise. Ihnen"},
		{orders.EventRejected, domain.Data{Reason: "insufficient_funds"}, "Ihr Guthaben reichte nicht aus. Ihnen"},
		{orders.EventRejected, domain.Data{Reason: "full_moon"}, "wir konnten sie nicht annehmen. Ihnen"},
		{orders.EventCancelled, domain.Data{OrderID: orderID, Reason: "cancelled_by_customer"}, "Ihre Bestellung 3f1c5a0e wurde auf Ihren Wunsch storniert. Ihnen wurde nichts berechnet."},
		{orders.EventCancelled, domain.Data{OrderID: orderID, Reason: "cancelled_by_staff"}, "Ihre Bestellung 3f1c5a0e wurde von unserem Personal storniert. Ihnen"},
		{orders.EventCancelled, domain.Data{OrderID: orderID, Reason: "deadline"}, "Ihre Bestellung 3f1c5a0e wurde nicht rechtzeitig abgeschlossen und deshalb storniert. Ihnen"},
		{orders.EventCancelled, domain.Data{OrderID: orderID}, "Ihre Bestellung 3f1c5a0e wurde storniert. Ihnen"},
		{orders.EventRefunded, domain.Data{OrderID: orderID, Amount: ten, Total: ten}, "Ihre Bestellung 3f1c5a0e wurde vollständig erstattet: 10,00 EUR."},
		{payments.EventRefunded, domain.Data{Amount: three}, "3,00 EUR sind wieder auf Ihrem Guthaben."},
	}
	for _, test := range tests {
		m, err := domain.RenderEntry(test.typ, domain.German, test.data)
		if err != nil || !strings.Contains(m.Body, test.body) {
			t.Errorf("%s with %q says %q, %v; want %q", test.typ, test.data.Reason, m.Body, err, test.body)
		}
	}
}
