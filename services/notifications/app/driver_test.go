package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/clock"
	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/internal/event"
	"caravan/internal/feed"
	"caravan/internal/id"
	"caravan/internal/invoke"
	"caravan/services/notifications/app"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
	orders "caravan/services/orders/contract"
	payments "caravan/services/payments/contract"
	users "caravan/services/users/contract"
)

// fakeMail is a mail server with the contacts of all users.
type fakeMail struct {
	mu     sync.Mutex
	sent   []app.Mail
	answer func(m app.Mail) error // before it is taken; nil takes everything
	taken  func()                 // after it was taken and before the answer
	away   bool                   // users does not answer
}

func (f *fakeMail) Send(_ context.Context, m app.Mail) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answer != nil {
		if err := f.answer(m); err != nil {
			return err
		}
	}
	f.sent = append(f.sent, m)
	if f.taken != nil {
		f.taken()
	}
	return nil
}

func (f *fakeMail) Contact(_ context.Context, userID string) (users.Contact, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return users.Contact{}, false, &invoke.Error{App: users.App, Path: users.PathContacts, Status: 503}
	}
	if userID == "nobody" {
		return users.Contact{}, false, nil
	}
	return users.Contact{UserID: userID, Email: "ann.smith@example.com", Name: "Ann <b>Smith</b>"}, true, nil
}

func (f *fakeMail) mails() []app.Mail {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sent)
}

func (f *fakeMail) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// attempts is a DeliveryMeter.
type attempts struct {
	mu sync.Mutex
	of map[string]int
}

func (a *attempts) Attempted(_ context.Context, channel domain.Channel, kind, outcome string, _ time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = make(map[string]int)
	}
	a.of[fmt.Sprint(channel, " ", kind, " ", outcome)]++
}

// post is a replica of notifications with e-mail. It runs in a synctest bubble.
type post struct {
	*notifications
	mail    *fakeMail
	meter   *attempts
	threads *app.Threads
	driver  *app.Driver
	sweep   *feed.Sweep
	deliver app.DeliverEvent
	stop    func()
}

func newPost(t *testing.T, store document.Store, mail *fakeMail, before ...func(*post)) *post {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ports := app.Ports{Store: store, Clock: clock.System{}, IDs: id.Random{}, Log: log}
	timing := feed.DefaultTiming()
	index, reader := feed.NewIndex(store, ports.Clock, timing, id.Random{}.New()), feed.NewReader(store, ports.Clock, timing)
	p := &post{notifications: over(ports), mail: mail, meter: &attempts{}}
	p.threads = document.NewRepository[domain.Thread](store, document.Options{
		Prefix: app.ThreadPrefix, Source: contract.App, Index: index, Clock: ports.Clock, IDs: ports.IDs,
	})
	preferences := app.NewPreferences(ports)
	p.driver = app.NewDriver(&app.Driver{
		Threads: p.threads, Senders: map[domain.Channel]app.Sender{domain.Email: app.EmailSender{Contacts: mail, Mailer: mail}},
		Preferences: preferences, Meter: p.meter, Clock: ports.Clock, IDs: ports.IDs, Log: log,
		DriverOptions: app.DriverOptions{
			Rules:   domain.DeliveryRules{Attempts: 5, Skew: 15 * time.Second, Fold: 30 * time.Second, MaxAge: 48 * time.Hour},
			Attempt: 30 * time.Second, Concurrency: 4, FirstBackoff: time.Second, MaxBackoff: 10 * time.Minute, Jitter: func() float64 { return 0.5 },
		},
	})
	p.sweep = app.NewDeliverySweep(p.threads, p.driver, &feed.Sweep{
		Reader: reader, Index: index, Store: store, Clock: ports.Clock, IDs: ports.IDs, Log: log, Every: 5 * time.Second, Settle: timing.Settle,
	})
	p.deliver = p.deliverEvent()
	p.deliver.Outbox = &app.Outbox{
		Threads: p.threads, Preferences: preferences, Driver: p.driver, Channels: []domain.Channel{domain.Email}, Clock: ports.Clock,
	}
	for _, change := range before {
		change(p)
	}
	p.start(t)
	return p
}

// start runs the workers of the replica until stop or the end of the test.
func (p *post) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	workers.Go(func() { _ = p.driver.Run(ctx) })
	workers.Go(func() { _ = p.sweep.Run(ctx) })
	p.stop = sync.OnceFunc(func() { cancel(); workers.Wait() })
	synctest.Wait()
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// of is the only thread of a user's order.
func (p *post) of(t *testing.T, n domain.Notice) *domain.Thread {
	t.Helper()
	thread, err := p.threads.Get(t.Context(), domain.ThreadID(domain.Email, n))
	if err != nil {
		t.Fatal(err)
	}
	return thread
}

func (p *post) take(t *testing.T, events ...event.Event) {
	t.Helper()
	for _, e := range events {
		if err := p.deliver.Do(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// recent is the n-th order of u1, confirmed just now.
func recent(n int) (event.Event, domain.Notice) {
	e := orderEvent("u1", n, time.Now().UTC())
	notice, err := domain.Read(e)
	if err != nil {
		panic(err)
	}
	return e, notice
}

func TestAMailIsSentAtOnceAndCostsTwoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := documenttest.NewStore(), &fakeMail{}
		p := newPost(t, store, mail)
		defer p.stop()
		writes := make(map[string]int)
		var mu sync.Mutex
		store.AfterPut(func(key string, _ []byte) error {
			time.Sleep(5 * time.Millisecond) // as a real store
			mu.Lock()
			defer mu.Unlock()
			prefix, _, _ := strings.Cut(key, "/")
			writes[prefix]++
			return nil
		})
		const mails = 200
		var all sync.WaitGroup
		for i := range mails {
			all.Go(func() { p.take(t, orderEvent(fmt.Sprint("u", i), i, time.Now().UTC())) })
		}
		all.Wait()
		pass(10 * time.Second)
		if sent := mail.mails(); len(sent) != mails {
			t.Fatalf("%d mails were sent", len(sent))
		}
		mu.Lock()
		defer mu.Unlock()
		// The index has one entry for all threads that are written at the same time.
		if writes["delivery"] != 2*mails || writes["feed"] > mails/10 {
			t.Errorf("%d mails cost %v", mails, writes)
		}
		if p.meter.of["email order-confirmed sent"] != mails {
			t.Errorf("counted %v", p.meter.of)
		}
	})
}

func TestAMailHasAStableIDAndNothingPersonalIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := documenttest.NewStore(), &fakeMail{}
		p := newPost(t, store, mail)
		defer p.stop()
		e, notice := recent(1)
		mail.answer = func(m app.Mail) error {
			return errors.New("451 4.7.1 <ann.smith@example.com>: try later, Ann <b>Smith</b>; no\r\n ann.smith here \u202e")
		}
		p.take(t, e, e, e)
		pass(0)
		waiting := p.of(t, notice).Deliveries[0]
		if waiting.State != domain.DeliveryWaiting || waiting.Attempts != 1 || !strings.Contains(waiting.Reason, "451 4.7.1") {
			t.Fatalf("after a failure: %+v", waiting)
		}
		mail.set(func() { mail.answer = nil })
		pass(time.Minute)
		sent := mail.mails()
		if len(sent) != 1 || sent[0].ID != domain.DeliveryID(domain.ThreadID(domain.Email, notice), 0) || sent[0].To != "ann.smith@example.com" {
			t.Fatalf("sent %+v", sent)
		}
		for _, key := range store.Keys() {
			records, err := store.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if value := strings.ToLower(string(records[key].Value)); strings.Contains(value, "smith") || strings.Contains(value, "example") || strings.ContainsRune(value, '\u202e') {
				t.Errorf("%s has %s", key, value)
			}
		}
	})
}

func TestWhatTheMailServerSaysDecides(t *testing.T) {
	for name, c := range map[string]struct {
		answer  error
		state   domain.DeliveryState
		outcome string
	}{
		"refused for ever": {fmt.Errorf("%w: 550 no such mailbox", app.ErrMailRefused), domain.DeliveryFailed, app.DeliveryFailed},
		"never answers":    {context.DeadlineExceeded, domain.DeliveryFailed, app.DeliveryRetried},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mail := &fakeMail{answer: func(app.Mail) error { return c.answer }}
				p := newPost(t, documenttest.NewStore(), mail)
				defer p.stop()
				e, notice := recent(1)
				p.take(t, e)
				pass(time.Hour)
				d := p.of(t, notice).Deliveries[0]
				if d.State != c.state || len(mail.mails()) != 0 || p.meter.of["email order-confirmed "+c.outcome] == 0 {
					t.Errorf("the delivery is %+v, counted %v", d, p.meter.of)
				}
			})
		})
	}
}

func TestAMissingUsersServiceDelaysMails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &fakeMail{away: true}
		p := newPost(t, documenttest.NewStore(), mail)
		defer p.stop()
		e, notice := recent(1)
		p.take(t, e)
		pass(5 * time.Hour)
		d := p.of(t, notice).Deliveries[0]
		if d.State != domain.DeliveryWaiting || d.Attempts != 0 || d.Postponed < 10 {
			t.Fatalf("the delivery is %+v", d)
		}
		mail.set(func() { mail.away = false })
		pass(10 * time.Minute)
		if len(mail.mails()) != 1 {
			t.Errorf("%d mails", len(mail.mails()))
		}
	})
}

// switchOff stores that u1 gets no e-mails of kinds.
func switchOff(store *documenttest.FakeStore, kinds ...string) {
	var rules []string
	for _, kind := range kinds {
		rules = append(rules, fmt.Sprintf(`{"kind":%q,"channel":"email","enabled":false}`, kind))
	}
	store.Overwrite("preferences/u1", fmt.Appendf(nil, `{"revision":1,"userId":"u1","rules":[%s]}`, strings.Join(rules, ",")))
}

func TestWishesCountWhenAMailIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := documenttest.NewStore(), &fakeMail{away: true}
		p := newPost(t, store, mail)
		defer p.stop()
		e, notice := recent(1)
		p.take(t, e)
		pass(0)
		switchOff(store, "order-confirmed")
		mail.set(func() { mail.away = false })
		pass(time.Minute)
		if d := p.of(t, notice).Deliveries[0]; d.State != domain.DeliverySuppressed || len(mail.mails()) != 0 {
			t.Errorf("the delivery is %+v", d)
		}
	})
}

// What a person has switched off leaves nothing behind, and what they cannot switch off comes all the same.
func TestWhatIsSwitchedOffIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := documenttest.NewStore(), &fakeMail{}
		p := newPost(t, store, mail)
		defer p.stop()
		switchOff(store, "order-placed", "order-confirmed")
		e, notice := recent(1)
		p.take(t, e, e)
		pass(time.Minute)
		if _, err := p.threads.Get(t.Context(), domain.ThreadID(domain.Email, notice)); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("the delivery is stored: %v", err)
		}
		if inbox := eventsOf(t, p.notifications, "u1"); !slices.Equal(inbox, []string{e.ID}) {
			t.Errorf("the inbox has %q", inbox)
		}
		p.take(t, deposit("u1", 1), event.Event{
			ID: event.ID("users", "u1", 1), Type: users.EventPasswordChanged, Source: "users", Subject: "u1", Sequence: 1,
			Time: time.Now().UTC(), Data: []byte(`{"userId":"u1"}`),
		})
		pass(time.Minute)
		if sent := mail.mails(); len(sent) != 2 {
			t.Errorf("%d mails for a deposit and a new password", len(sent))
		}
	})
}

// A status that is switched off is not sent, and no earlier status is sent after it.
func TestAStatusThatIsSwitchedOffEndsEarlierOnes(t *testing.T) {
	statusOf := func(typ string, sequence int64) event.Event {
		e, _ := recent(1)
		e.ID, e.Type, e.Sequence = event.ID("orders", e.Subject, sequence), typ, sequence
		e.Data = fmt.Appendf(nil, `{"orderId":%q,"userId":"u1","total":{"amount":900,"currency":"EUR"},"refunded":{"amount":900,"currency":"EUR"}}`, e.Subject)
		return e
	}
	for name, c := range map[string]struct {
		off             string
		earlier, later  string
		laterIsFirst    bool
		earlierIsStored domain.DeliveryState
	}{
		"an earlier one waits":      {"order-refunded", orders.EventConfirmed, orders.EventRefunded, false, domain.DeliverySuperseded},
		"an earlier one comes late": {"order-confirmed", orders.EventPlaced, orders.EventConfirmed, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, mail := documenttest.NewStore(), &fakeMail{away: true}
				p := newPost(t, store, mail)
				defer p.stop()
				switchOff(store, c.off)
				earlier, later := statusOf(c.earlier, 1), statusOf(c.later, 5)
				if c.laterIsFirst {
					p.take(t, later)
					pass(time.Minute)
					p.take(t, earlier)
				} else {
					p.take(t, earlier)
					pass(time.Millisecond)
					p.take(t, later)
				}
				pass(time.Second)
				mail.set(func() { mail.away = false })
				pass(time.Hour)
				if sent := mail.mails(); len(sent) != 0 {
					t.Errorf("%d mails were sent", len(sent))
				}
				_, notice := recent(1)
				states := make(map[string]domain.DeliveryState)
				for _, d := range p.of(t, notice).Deliveries {
					states[d.Type] = d.State
				}
				if states[c.later] != domain.DeliverySuppressed || states[c.earlier] != c.earlierIsStored {
					t.Errorf("the deliveries are %v", states)
				}
			})
		})
	}
}

// An event whose wishes cannot be read is not handled, so that its message is not lost.
func TestAnEventWaitsForTheWishesOfItsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := documenttest.NewStore(), &fakeMail{}
		p := newPost(t, store, mail)
		defer p.stop()
		store.BeforeGet(func(keys []string) error {
			if slices.Contains(keys, "preferences/u1") {
				return temporary{}
			}
			return nil
		})
		e, _ := recent(1)
		if err := p.deliver.Do(t.Context(), e); !event.Retriable(err) {
			t.Errorf("the event is handled: %v", err)
		}
		store.BeforeGet(nil)
		p.take(t, e)
		pass(time.Second)
		if len(mail.mails()) != 1 {
			t.Errorf("%d mails", len(mail.mails()))
		}
	})
}

func TestAUserWithoutAddressGetsNoMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &fakeMail{}
		p := newPost(t, documenttest.NewStore(), mail)
		defer p.stop()
		e := orderEvent("nobody", 1, time.Now())
		notice, err := domain.Read(e)
		if err != nil {
			t.Fatal(err)
		}
		p.take(t, e)
		pass(time.Minute)
		if d := p.of(t, notice).Deliveries[0]; d.State != domain.DeliveryFailed || len(mail.mails()) != 0 {
			t.Errorf("the delivery is %+v", d)
		}
	})
}

// Two replicas get the same events at the same time, in another order.
func TestTwoReplicasSendEachMailOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := documenttest.NewStore(), &fakeMail{}
		a, b := newPost(t, store, mail), newPost(t, store, mail)
		defer a.stop()
		defer b.stop()
		const mails = 50
		events := make([]event.Event, mails)
		for i := range events {
			events[i], _ = recent(i)
		}
		var all sync.WaitGroup
		for i := range events {
			all.Go(func() { a.take(t, events[i]) })
			all.Go(func() { b.take(t, events[mails-1-i]) })
		}
		all.Wait()
		pass(10 * time.Minute)
		ids := make(map[string]int)
		for _, m := range mail.mails() {
			ids[m.ID]++
		}
		if len(ids) != mails || len(mail.mails()) != mails {
			t.Errorf("%d mails for %d of %d deliveries", len(mail.mails()), len(ids), mails)
		}
	})
}

// A crash at each operation on the store, before and after its effect. Another replica finds what is left. Only a crash between
// the answer of the mail server and the write of "sent" sends a mail again.
func TestACrashAnywhereLosesNoMail(t *testing.T) { crashEach(t, 6, crashAt) }

// crashEach runs a test with a crash at each operation on the store, before and after its effect. There are at least so many.
func crashEach(t *testing.T, least int, crashAt func(t *testing.T, left int, lands bool) (crashed bool)) {
	for _, lands := range []bool{false, true} {
		for left := 1; ; left++ {
			crashed := false
			t.Run(fmt.Sprintf("operation %d, lands %v", left, lands), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crashed = crashAt(t, left, lands) })
			})
			if t.Failed() {
				return
			}
			if !crashed {
				if left < least {
					t.Fatalf("there were only %d operations", left)
				}
				break
			}
		}
	}
}

func crashAt(t *testing.T, left int, lands bool) (crashed bool) {
	store, mail := documenttest.NewStore(), &fakeMail{}
	dying := &documenttest.Replica{Store: store, Name: "dying", Time: time.Now, Left: -1, Lands: lands}
	first := newPost(t, dying, mail)
	pass(time.Second)
	dying.CrashAfter(left)
	e, notice := recent(1)
	err := first.deliver.Do(t.Context(), e)
	synctest.Wait()
	crashed = dying.Crashed()
	dying.CrashAfter(0) // it is over in any case
	sentBefore := len(mail.mails())
	first.stop()
	second := newPost(t, store, mail)
	defer second.stop()
	if err != nil { // the event was not acknowledged
		second.take(t, e)
	}
	pass(5 * time.Minute)
	d := second.of(t, notice).Deliveries
	sent := len(mail.mails())
	if len(d) != 1 || d[0].State != domain.DeliverySent {
		t.Fatalf("the deliveries are %+v", d)
	}
	if sent != 1 && !(sentBefore == 1 && crashed && sent == 2) {
		t.Errorf("%d mails, %d of them before the crash", sent, sentBefore)
	}
	return crashed
}

// A store that does not take "sent" for minutes is no reason to send again.
func TestAMailIsNotSentAgainWhileItsResultCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, mail := documenttest.NewStore(), &fakeMail{}
		p := newPost(t, store, mail)
		defer p.stop()
		until := time.Now().Add(10 * time.Minute)
		store.BeforePut(func(key string, value []byte) error {
			if strings.HasPrefix(key, app.ThreadPrefix) && strings.Contains(string(value), `"state":"sent"`) && time.Now().Before(until) {
				return documenttest.ErrInjected
			}
			return nil
		})
		e, notice := recent(1)
		p.take(t, e)
		pass(15 * time.Minute)
		if d := p.of(t, notice).Deliveries[0]; d.State != domain.DeliverySent || d.Sends != 1 || len(mail.mails()) != 1 {
			t.Errorf("%d mails, %+v", len(mail.mails()), d)
		}
	})
}

// An attempt may have sent the mail although the mail server did not answer. If its result cannot be stored either, the next attempt
// must know that nobody knows.
func TestAnUnstoredFailureIsAnUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := documenttest.NewStore()
		failures, began := 0, time.Now()
		mail := &fakeMail{answer: func(app.Mail) error {
			if failures++; failures == 1 {
				return errors.New("no answer")
			}
			return nil
		}}
		p := newPost(t, store, mail)
		defer p.stop()
		store.BeforePut(func(key string, value []byte) error {
			if strings.HasPrefix(key, app.ThreadPrefix) && strings.Contains(string(value), `"state":"waiting"`) && time.Since(began) < 10*time.Second {
				return documenttest.ErrInjected
			}
			return nil
		})
		e, notice := recent(1)
		p.take(t, e)
		pass(5 * time.Minute)
		if d := p.of(t, notice).Deliveries[0]; d.State != domain.DeliverySent || !d.Unknown || d.Attempts != 2 || failures != 2 {
			t.Errorf("%d attempts, %+v", failures, d)
		}
	})
}

func TestStatusesOfOneOrderArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &fakeMail{answer: func(app.Mail) error { return errors.New("421 busy") }}
		p := newPost(t, documenttest.NewStore(), mail)
		defer p.stop()
		confirmed, notice := recent(1)
		refunded := confirmed
		refunded.Type, refunded.Sequence, refunded.ID = orders.EventRefunded, 7, event.ID("orders", confirmed.Subject, 7)
		refunded.Data = fmt.Appendf(nil, `{"orderId":%q,"userId":"u1","total":{"amount":100,"currency":"EUR"},"refunded":{"amount":100,"currency":"EUR"}}`, confirmed.Subject)
		p.take(t, refunded, confirmed, refunded)
		pass(time.Second)
		mail.set(func() { mail.answer = nil })
		pass(time.Minute)
		sent := mail.mails()
		if len(sent) != 1 || !strings.Contains(sent[0].Subject, "refunded") || !p.of(t, notice).Ended() {
			t.Errorf("sent %+v", sent)
		}
	})
}

// A message is added, claimed, to a thread while another one of it is being sent. Its own start drives it as soon as that has ended.
func TestAStartDuringADriveKeepsItsClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan struct{})
		mail := &fakeMail{answer: func(m app.Mail) error {
			if strings.Contains(m.Subject, "confirmed") {
				<-busy
			}
			return nil
		}}
		p := newPost(t, documenttest.NewStore(), mail)
		defer p.stop()
		set := app.SetPreferences{Preferences: app.NewPreferences(p.Ports)}
		wishes := domain.Settings{Locale: domain.English, Rules: []domain.Rule{{Kind: "payment-refunded", Channel: domain.Email, Enabled: true}}}
		if _, err := set.Do(t.Context(), "u1", wishes); err != nil {
			t.Fatal(err)
		}
		confirmed, notice := recent(1)
		p.take(t, confirmed)
		pass(time.Second)
		for n := range int64(2) { // each has a claim of its own
			refunded := deposit("u1", n+1)
			refunded.Type, refunded.Time = payments.EventRefunded, time.Now().UTC()
			refunded.Data = fmt.Appendf(nil, `{"userId":"u1","orderId":%q,"refundId":"r","amount":{"amount":5,"currency":"EUR"}}`, confirmed.Subject)
			p.take(t, refunded)
			pass(time.Second)
		}
		if thread := p.of(t, notice); len(thread.Deliveries) != 3 || thread.Deliveries[1].State != domain.DeliveryClaimed || thread.Deliveries[2].State != domain.DeliveryClaimed {
			t.Fatalf("the deliveries are %+v", thread.Deliveries)
		}
		close(busy)
		pass(time.Second)
		for i, d := range p.of(t, notice).Deliveries {
			if d.State != domain.DeliverySent || d.Attempts != 1 || d.Sends != 1 {
				t.Errorf("delivery %d is %+v", i, d)
			}
		}
	})
}

// The sweep starts a waiting thread again and again. It waits in one place all the same.
func TestAThreadWaitsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &fakeMail{answer: func(app.Mail) error { return errors.New("421 busy") }}
		p := newPost(t, documenttest.NewStore(), mail)
		defer p.stop()
		e, notice := recent(1)
		p.take(t, e)
		for range 8 { // the next attempt is in another five seconds
			pass(time.Second)
			p.driver.Start(t.Context(), domain.ThreadID(domain.Email, notice))
		}
		synctest.Wait()
		if n := p.driver.Waiting(); n != 1 {
			t.Errorf("one thread waits in %d places", n)
		}
	})
}
