package app_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/id"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
)

// listed are the deliveries that staff see, page by page.
func (p *post) listed(t *testing.T, f app.DeliveryFilter, limit int) (all []app.ListedDelivery) {
	t.Helper()
	list := app.ListDeliveries{Threads: p.threads, Reader: p.sweep.Reader, Sweep: p.sweep, Clock: clock.System{}}
	for cursor, pages := "", 0; ; pages++ {
		found, next, err := list.Do(t.Context(), f, cursor, limit)
		if err != nil || len(found) > limit || pages > 1000 {
			t.Fatalf("a page of %d, %v", len(found), err)
		}
		all = append(all, found...)
		if cursor = next; cursor == "" {
			return all
		}
	}
}

func (p *post) resend(t *testing.T, deliveryID, key string) (app.ListedDelivery, error) {
	t.Helper()
	return app.ResendDelivery{
		Threads: p.threads, Driver: p.driver, Clock: clock.System{}, IDs: id.Random{}, Log: slog.New(slog.DiscardHandler),
	}.Do(t.Context(), deliveryID, "staff", key)
}

func TestStaffSeeEveryMessageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &fakeMail{}
		p := newPost(t, documenttest.NewStore(), mail)
		defer p.stop()
		mail.answer = func(m app.Mail) error {
			if len(mail.sent) >= 20 {
				return fmt.Errorf("%w: 550 full", app.ErrMailRefused)
			}
			return nil
		}
		for i := range 30 {
			e, _ := recent(i)
			p.take(t, e)
			pass(3 * time.Second)
		}
		middle := time.Now()
		pass(time.Hour)
		mail.set(func() { mail.away = true })
		late, _ := recent(99)
		p.take(t, late)
		pass(10 * time.Second)
		for _, c := range []struct {
			filter app.DeliveryFilter
			want   int
		}{
			{app.DeliveryFilter{}, 31},
			{app.DeliveryFilter{Status: domain.DeliverySent}, 20},
			{app.DeliveryFilter{Status: domain.DeliveryFailed, Kind: "order-confirmed", Channel: domain.Email, UserID: "u1"}, 10},
			{app.DeliveryFilter{Status: domain.DeliveryWaiting}, 1},
			{app.DeliveryFilter{Since: middle}, 1},
			{app.DeliveryFilter{Since: time.Unix(0, 0)}, 31},
			{app.DeliveryFilter{Kind: "welcome"}, 0},
			{app.DeliveryFilter{UserID: "u2"}, 0},
		} {
			for _, limit := range []int{7, 100} {
				got := p.listed(t, c.filter, limit)
				ids := make(map[string]bool)
				for _, l := range got {
					ids[l.ID] = true
				}
				if len(ids) != c.want {
					t.Errorf("%+v with limit %d: %d messages; want %d", c.filter, limit, len(ids), c.want)
				}
			}
		}
	})
}

func TestAMessageIsSentAgainOnceForAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &fakeMail{answer: func(app.Mail) error { return fmt.Errorf("%w: 550 full", app.ErrMailRefused) }}
		p := newPost(t, documenttest.NewStore(), mail)
		defer p.stop()
		e, _ := recent(1)
		p.take(t, e)
		pass(time.Second)
		failed := p.listed(t, app.DeliveryFilter{Status: domain.DeliveryFailed}, 10)
		if len(failed) != 1 || failed[0].Reason == "" {
			t.Fatalf("failed: %+v", failed)
		}
		mail.set(func() { mail.answer = nil })
		for range 3 {
			if _, err := p.resend(t, failed[0].ID, "key"); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
		}
		if sent := p.listed(t, app.DeliveryFilter{Status: domain.DeliverySent}, 10); len(sent) != 1 || sent[0].Resends != 1 || len(mail.mails()) != 1 {
			t.Errorf("%d mails; sent: %+v", len(mail.mails()), sent)
		}
		for _, unknown := range []string{"x", failed[0].ID + "1", domain.DeliveryID(id.Derive("nothing"), 0)} {
			if _, err := p.resend(t, unknown, ""); !errors.Is(err, document.ErrNotFound) {
				t.Errorf("%s: %v", unknown, err)
			}
		}
	})
}

func TestWithoutAnotherChannelThereAreNoMessages(t *testing.T) {
	if found, next, err := (app.ListDeliveries{}).Do(t.Context(), app.DeliveryFilter{}, "", 10); len(found) != 0 || next != "" || err != nil {
		t.Errorf("%v, %q, %v", found, next, err)
	}
	_, err := app.ResendDelivery{IDs: id.Random{}}.Do(t.Context(), domain.DeliveryID(id.Derive("x"), 0), "staff", "")
	if !errors.Is(err, document.ErrNotFound) {
		t.Error(err)
	}
}
