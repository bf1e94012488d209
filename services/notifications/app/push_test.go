package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/services/notifications/app"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
)

// fakePush is an app.Pusher that keeps what each endpoint gets.
type fakePush struct {
	mu     sync.Mutex
	got    map[string][]domain.PushContent
	asked  map[string]int
	answer func(endpoint string) error
	taken  func()
}

func (f *fakePush) Push(ctx context.Context, m app.PushMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.got == nil {
		f.got, f.asked = make(map[string][]domain.PushContent), make(map[string]int)
	}
	f.asked[m.Target.Endpoint]++
	if f.answer != nil {
		if err := f.answer(m.Target.Endpoint); err != nil {
			return err
		}
	}
	var content domain.PushContent
	if err := json.Unmarshal(m.Payload, &content); err != nil || m.TTL <= 0 || m.Urgency == "" || m.Topic != content.Tag {
		return fmt.Errorf("the message is %+v, %v", m, err)
	}
	f.got[m.Target.Endpoint] = append(f.got[m.Target.Endpoint], content)
	if f.taken != nil {
		f.taken()
	}
	return ctx.Err()
}

func (f *fakePush) at(endpoint string) []domain.PushContent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got[endpoint])
}

func (f *fakePush) requests(endpoint string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[endpoint]
}

func (f *fakePush) set(answer func(string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// newPushPost is a replica with push alone.
func newPushPost(t *testing.T, store document.Store, push *fakePush) (*post, *app.PushSubscriptions) {
	t.Helper()
	var devices *app.PushSubscriptions
	p := newPost(t, store, &fakeMail{}, func(p *post) { // before its workers run
		devices = app.NewPushSubscriptions(p.Ports)
		p.driver.Senders[domain.Push] = app.PushSender{
			Subscriptions: devices, Pusher: push, Clock: p.Clock, Log: slog.New(slog.DiscardHandler), MaxWait: 6 * time.Minute,
			Slots: make(chan struct{}, 2), Timeout: 10 * time.Second, SlotWait: time.Second,
		}
		p.deliver.Outbox.Channels, p.deliver.Outbox.Devices = []domain.Channel{domain.Push}, devices
	})
	return p, devices
}

func endpoint(n int) string { return fmt.Sprintf("https://push.example.com/%d", n) }

// subscribe subscribes a device and returns its id.
func subscribe(t *testing.T, devices *app.PushSubscriptions, userID string, n int) string {
	t.Helper()
	to, err := domain.NewPushTarget(endpoint(n), "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", "BTBZMqHH6r4Tts7J_aSIgg", false)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := app.SubscribePush{PushSubscriptions: devices}.Do(t.Context(), userID, to)
	if err != nil {
		t.Fatal(err)
	}
	return stored.ID
}

// pushed is the only thread by push of a user's order.
func (p *post) pushed(t *testing.T, n domain.Notice) *domain.Thread {
	t.Helper()
	thread, err := p.threads.Get(t.Context(), domain.ThreadID(domain.Push, n))
	if err != nil {
		t.Fatal(err)
	}
	return thread
}

func (p *post) onlyPushed(t *testing.T, n domain.Notice) domain.Delivery {
	t.Helper()
	d := p.pushed(t, n).Deliveries
	if len(d) != 1 {
		t.Fatalf("there are %d deliveries", len(d))
	}
	return d[0]
}

func TestEachDeviceGetsAMessageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, push := documenttest.NewStore(), &fakePush{}
		p, devices := newPushPost(t, store, push)
		defer p.stop()
		for n := range 3 {
			subscribe(t, devices, "u1", n)
		}
		e, notice := recent(1)
		p.take(t, e, e)
		pass(time.Second)
		for n := range 3 {
			if got := push.at(endpoint(n)); len(got) != 1 || got[0].ID != domain.DeliveryID(domain.ThreadID(domain.Push, notice), 0) || got[0].OrderID != notice.Data.OrderID {
				t.Errorf("device %d has %+v", n, got)
			}
		}
		if d := p.onlyPushed(t, notice); d.State != domain.DeliverySent || len(d.Served) != 0 {
			t.Errorf("the delivery is %+v", d)
		}
		// Nobody else has a device, so nothing is stored for others.
		other := orderEvent("u2", 1, time.Now())
		p.take(t, other)
		read, err := domain.Read(other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.threads.Get(t.Context(), domain.ThreadID(domain.Push, read)); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("somebody without a device has a thread: %v", err)
		}
		for _, key := range store.Keys() {
			records, err := store.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(records[key].Value), "push.example.com") && key != "push/u1" {
				t.Errorf("%s has an endpoint", key)
			}
		}
	})
}

func TestADeviceThatWasServedIsNotServedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		push := &fakePush{}
		p, devices := newPushPost(t, documenttest.NewStore(), push)
		defer p.stop()
		for n := range 4 {
			subscribe(t, devices, "u1", n)
		}
		push.set(func(to string) error {
			switch to {
			case endpoint(1):
				return &app.PushLaterError{Reason: "503", After: 5 * time.Minute}
			case endpoint(2):
				return app.ErrPushGone
			case endpoint(3):
				return fmt.Errorf("%w: 413", app.ErrPushRefused)
			}
			return nil
		})
		e, notice := recent(1)
		p.take(t, e)
		pass(time.Second)
		if d := p.onlyPushed(t, notice); d.State != domain.DeliveryWaiting || len(d.Served) != 1 || time.Until(d.NextAttemptAt) < 4*time.Minute || d.Reason != "503" {
			t.Fatalf("the delivery is %+v", d)
		}
		push.set(func(to string) error {
			if to == endpoint(3) {
				return fmt.Errorf("%w: 413", app.ErrPushRefused)
			}
			return nil
		})
		pass(4 * time.Minute)
		if push.requests(endpoint(1)) != 1 {
			t.Errorf("Retry-After is not respected: %d requests", push.requests(endpoint(1)))
		}
		pass(2 * time.Minute)
		for n, want := range map[int]int{0: 1, 1: 1, 2: 0, 3: 0} {
			if got := push.at(endpoint(n)); len(got) != want {
				t.Errorf("device %d has %d messages", n, len(got))
			}
		}
		if push.requests(endpoint(0)) != 1 || push.requests(endpoint(2)) != 1 {
			t.Errorf("%d and %d requests", push.requests(endpoint(0)), push.requests(endpoint(2)))
		}
		left, err := app.ListPushSubscriptions{PushSubscriptions: devices}.Do(t.Context(), "u1")
		if err != nil || len(left) != 3 {
			t.Errorf("%d devices are left, %v", len(left), err)
		}
		if d := p.onlyPushed(t, notice); d.State != domain.DeliverySent || d.Sends != 1 {
			t.Errorf("the delivery is %+v", d)
		}
	})
}

// A store that does not take results for minutes is no reason to send to a device again that has the message.
func TestAServedDeviceIsNotServedAgainWhileThisCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, push := documenttest.NewStore(), &fakePush{}
		p, devices := newPushPost(t, store, push)
		defer p.stop()
		subscribe(t, devices, "u1", 0)
		subscribe(t, devices, "u1", 1)
		push.set(func(to string) error {
			if to == endpoint(1) && push.asked[to] == 1 { // it is called with the lock
				return errors.New("no answer")
			}
			return nil
		})
		until := time.Now().Add(10 * time.Minute)
		store.BeforePut(func(key string, value []byte) error {
			if strings.HasPrefix(key, app.ThreadPrefix) && strings.Contains(string(value), `"served"`) && time.Now().Before(until) {
				return documenttest.ErrInjected
			}
			return nil
		})
		e, notice := recent(1)
		p.take(t, e)
		pass(15 * time.Minute)
		if d := p.onlyPushed(t, notice); d.State != domain.DeliverySent || push.requests(endpoint(0)) != 1 || push.requests(endpoint(1)) != 2 {
			t.Errorf("%d and %d requests, %+v", push.requests(endpoint(0)), push.requests(endpoint(1)), d)
		}
	})
}

func TestHowAPushEndsDependsOnItsDevices(t *testing.T) {
	refused := fmt.Errorf("%w: 403", app.ErrPushRefused)
	for name, c := range map[string]struct {
		answers  []error
		state    domain.DeliveryState
		requests int // to the first device
		left     int
	}{
		"all gone":            {[]error{app.ErrPushGone, app.ErrPushGone}, domain.DeliverySuppressed, 1, 0},
		"gone and refused":    {[]error{refused, app.ErrPushGone}, domain.DeliveryFailed, 1, 1},
		"gone and served":     {[]error{nil, app.ErrPushGone}, domain.DeliverySent, 1, 1},
		"never answers":       {[]error{errors.New("time-out")}, domain.DeliveryFailed, 5, 1},
		"asks for too long":   {[]error{&app.PushLaterError{Reason: "429", After: 1000 * time.Hour}}, domain.DeliveryFailed, 5, 1},
		"one of two for ever": {[]error{errors.New("time-out"), nil}, domain.DeliveryFailed, 5, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				push := &fakePush{}
				p, devices := newPushPost(t, documenttest.NewStore(), push)
				defer p.stop()
				for n := range c.answers {
					subscribe(t, devices, "u1", n)
				}
				push.set(func(to string) error {
					for n, answer := range c.answers {
						if to == endpoint(n) {
							return answer
						}
					}
					return nil
				})
				e, notice := recent(1)
				p.take(t, e)
				pass(40 * time.Minute)
				left, err := app.ListPushSubscriptions{PushSubscriptions: devices}.Do(t.Context(), "u1")
				if err != nil || len(left) != c.left {
					t.Errorf("%d devices are left, %v", len(left), err)
				}
				if d := p.onlyPushed(t, notice); d.State != c.state || push.requests(endpoint(0)) != c.requests {
					t.Errorf("after %d requests: %+v", push.requests(endpoint(0)), d)
				}
			})
		})
	}
}

// One browser, two people: what is for the first must not appear when the second uses it.
func TestAnEndpointBelongsToWhoSubscribedItLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		push := &fakePush{}
		p, devices := newPushPost(t, documenttest.NewStore(), push)
		defer p.stop()
		subscribe(t, devices, "u1", 1)
		mine := subscribe(t, devices, "u2", 1)
		e, notice := recent(1)
		p.take(t, e)
		pass(time.Second)
		if d := p.onlyPushed(t, notice); d.State != domain.DeliverySuppressed || push.requests(endpoint(1)) != 0 {
			t.Errorf("%d requests, %+v", push.requests(endpoint(1)), d)
		}
		unsubscribe := app.UnsubscribePush{PushSubscriptions: devices}
		if err := unsubscribe.Do(t.Context(), "u1", mine); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("another user ends a subscription: %v", err)
		}
		if err := unsubscribe.Do(t.Context(), "u2", mine); err != nil {
			t.Error(err)
		}
		if err := unsubscribe.Do(t.Context(), "u2", mine); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		subscribe(t, devices, "u1", 1)
		e, _ = recent(2)
		p.take(t, e)
		pass(time.Second)
		if got := push.at(endpoint(1)); len(got) != 1 {
			t.Errorf("after it was subscribed again, the device has %d messages", len(got))
		}
	})
}

func TestAPushWaitsUntilQuietHoursEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is midnight UTC
		store, push := documenttest.NewStore(), &fakePush{}
		p, devices := newPushPost(t, store, push)
		defer p.stop()
		p.deliver.Outbox.Channels = []domain.Channel{domain.Push, domain.Email}
		subscribe(t, devices, "u1", 1)
		store.Overwrite("preferences/u1", []byte(`{"revision":1,"userId":"u1","quietHours":{"from":"22:00","until":"07:00"}}`))
		e, notice := recent(1)
		p.take(t, e)
		pass(6*time.Hour + 59*time.Minute)
		d := p.onlyPushed(t, notice)
		if len(push.at(endpoint(1))) != 0 || d.State != domain.DeliveryWaiting || d.Attempts != 0 || d.Postponed != 1 {
			t.Fatalf("during quiet hours there are %d messages, %+v", len(push.at(endpoint(1))), d)
		}
		if len(p.mail.mails()) != 1 || p.meter.of["push order-confirmed held"] != 1 {
			t.Errorf("%d mails, counted %v", len(p.mail.mails()), p.meter.of)
		}
		// A later status takes the place of the one that is held.
		refunded := e
		refunded.Type, refunded.Sequence, refunded.ID, refunded.Time = orders.EventRefunded, 7, event.ID("orders", e.Subject, 7), time.Now().UTC()
		refunded.Data = fmt.Appendf(nil, `{"orderId":%q,"userId":"u1","total":{"amount":100,"currency":"EUR"},"refunded":{"amount":100,"currency":"EUR"}}`, e.Subject)
		p.take(t, refunded)
		pass(2 * time.Minute)
		if got := push.at(endpoint(1)); len(got) != 1 || got[0].Kind != "order-refunded" || !p.pushed(t, notice).Ended() {
			t.Errorf("after quiet hours there are %+v", got)
		}
	})
}

func TestAPushThatCameTooLateIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		push := &fakePush{}
		p, devices := newPushPost(t, documenttest.NewStore(), push)
		defer p.stop()
		subscribe(t, devices, "u1", 1)
		e := orderEvent("u1", 1, time.Now().Add(-25*time.Hour)) // its TTL is a day
		notice, err := domain.Read(e)
		if err != nil {
			t.Fatal(err)
		}
		p.take(t, e)
		pass(time.Second)
		if d := p.onlyPushed(t, notice); d.State != domain.DeliverySuppressed || d.Reason != "too old" || push.requests(endpoint(1)) != 0 {
			t.Errorf("the delivery is %+v", d)
		}
	})
}

// Push services without an answer do not keep e-mails waiting.
func TestAStalledPushServiceLeavesRoomForMails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		push := stalledPush{}
		p, devices := newPushPost(t, documenttest.NewStore(), &fakePush{})
		defer p.stop()
		sender := p.driver.Senders[domain.Push].(app.PushSender)
		sender.Pusher = push
		p.driver.Senders[domain.Push] = sender
		p.deliver.Outbox.Channels = []domain.Channel{domain.Email, domain.Push}
		const people = 40
		for n := range people {
			userID := fmt.Sprint("u", n)
			subscribe(t, devices, userID, n)
			p.take(t, orderEvent(userID, n, time.Now()))
		}
		pass(30 * time.Second)
		if got := len(p.mail.mails()); got != people {
			t.Errorf("%d of %d mails were sent", got, people)
		}
	})
}

type stalledPush struct{}

func (stalledPush) Push(ctx context.Context, _ app.PushMessage) error {
	<-ctx.Done()
	return errors.New("no answer")
}

// A crash at each operation on the store. Only a crash between the answer of the push service and the write of "sent" sends again.
func TestACrashAnywhereLosesNoPush(t *testing.T) { crashEach(t, 8, pushCrashAt) }

func pushCrashAt(t *testing.T, left int, lands bool) (crashed bool) {
	store, push := documenttest.NewStore(), &fakePush{}
	dying := &documenttest.Replica{Store: store, Name: "dying", Time: time.Now, Left: -1, Lands: lands}
	first, devices := newPushPost(t, dying, push)
	subscribe(t, devices, "u1", 1)
	pass(time.Second)
	dying.CrashAfter(left)
	e, notice := recent(1)
	err := first.deliver.Do(t.Context(), e)
	synctest.Wait()
	crashed = dying.Crashed()
	dying.CrashAfter(0) // it is over in any case
	before := len(push.at(endpoint(1)))
	first.stop()
	second, _ := newPushPost(t, store, push)
	defer second.stop()
	if err != nil { // the event was not acknowledged
		second.take(t, e)
	}
	pass(5 * time.Minute)
	d, got := second.onlyPushed(t, notice), push.at(endpoint(1))
	if d.State != domain.DeliverySent {
		t.Fatalf("the delivery is %+v", d)
	}
	if len(got) != 1 && !(before == 1 && crashed && len(got) == 2 && got[0].ID == got[1].ID && got[0].Tag == got[1].Tag) {
		t.Errorf("%d messages, %d of them before the crash", len(got), before)
	}
	return crashed
}
