package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"caravan/internal/clock"
	"caravan/internal/service"
	"caravan/internal/sidecar"
	"caravan/internal/telemetry"
	notifications "caravan/services/notifications/assembly"
	orders "caravan/services/orders/assembly"
	payments "caravan/services/payments/assembly"
	products "caravan/services/products/assembly"
	users "caravan/services/users/assembly"
)

// programs are the programs of a world, by app id.
var programs = map[string]service.Build{
	"users": users.Build, "products": products.Build, "orders": orders.Build, "payments": payments.Build, "notifications": notifications.Build,
}

// apps are their ids, in the order of their start.
var apps = []string{"users", "products", "payments", "orders", "notifications"}

const appToken = "app-token"

// replica is the place of one program and its sidecar. Both stop and start.
type replica struct {
	world   *World
	app     string
	number  int
	program *life // nil if none runs
	lives   int
	sidecar struct {
		up, deaf, hidden bool // deaf: without subscriptions; hidden: its metadata shows them
		stopped          bool // and stays stopped
		life             int
	}
	stopped bool     // no program starts
	frozen  Part     // the program or the sidecar, if it is paused
	held    []func() // what it does when it continues
}

func (r *replica) String() string { return r.app + "." + strconv.Itoa(r.number) }

// life is one run of a program, from start to crash.
type life struct {
	world    *World
	replica  *replica
	number   int
	service  *service.Service
	gone     chan struct{} // closed at the crash
	stop     context.CancelFunc
	inFlight map[*exchange]bool
}

func (l *life) String() string { return l.replica.String() }

func (l *life) over() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

// open starts a world's sidecars and programs.
func (w *World) open() {
	for _, app := range apps {
		w.stores[app] = newStore(w.faults.Kind)
		w.stores[app].watch = w.steps.watch(app)
		for n := range max(w.faults.Replicas, 1) {
			r := &replica{world: w, app: app, number: n}
			w.replicas = append(w.replicas, r)
			w.startSidecar(r)
			w.start(r)
		}
	}
}

func (w *World) startSidecar(r *replica) {
	if r.sidecar.stopped || r.sidecar.up {
		return
	}
	r.sidecar.up = true
	r.sidecar.deaf = w.chance("deaf", w.faults.Deaf)
	r.sidecar.hidden = r.sidecar.deaf && w.rng.IntN(2) == 0
	w.broker.attach(r)
}

func (w *World) crashSidecar(r *replica) {
	if !r.sidecar.up {
		return
	}
	r.sidecar.up = false
	r.sidecar.life++
	w.fired["sidecar gone"]++
	w.after(w.between(200*time.Millisecond, 3*time.Second), "sidecar of "+r.String()+" starts", func() { w.startSidecar(r) })
}

// settings make the programs faster where their defaults are for real time, because virtual hours have some cost too.
func (w *World) settings(app string) map[string]string {
	all := map[string]string{"app.token": appToken}
	if app == "users" {
		all["keys.dir"], all["bootstrap.email"], all["bootstrap.password"] = w.keys, adminEmail, password
		// The hashes are cheap, because there is no attacker.
		all["password.memory"], all["password.iterations"] = "8", "1"
	}
	if app == "notifications" && w.faults.Email {
		all["email.enabled"] = "true"
		all["email.base_url"], all["email.unsubscribe_key"] = "https://shop.example", unsubscribeKey
	}
	if app == "notifications" && w.faults.Push {
		all["push.private_key"], all["push.contact"] = pushPrivateKey, "mailto:shop@caravan.example"
	}
	if app == "products" {
		all["catalogue.reconcile"] = "1m" // repairs what a crash left incomplete before the audit
	}
	return all
}

func (w *World) start(r *replica) {
	if r.program != nil || w.closing || r.stopped {
		return
	}
	r.lives++
	l := &life{world: w, replica: r, number: r.lives, gone: make(chan struct{}), inFlight: make(map[*exchange]bool)}
	random := newRandomness(w.seed, fmt.Sprintf("%s/%d/%d", r.app, r.number, r.lives))
	clk := inaccurateClock{by: time.Duration((2*random.float() - 1) * float64(w.faults.Skew)), random: random}
	client := sidecar.Over(sidecar.Options{AppID: r.app, Host: "sidecar", HTTPPort: 3500, AppToken: appToken, Log: w.log, Clock: clk}, sdk{life: l}, transport{l})
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	t, err := telemetry.New(ctx, r.app, func(string) string { return "" })
	if err == nil {
		l.service, err = service.New(ctx, r.app, service.Surroundings{
			Settings: w.settings(r.app), Log: w.log.With("app", r.String(), "life", l.number), Clock: clk, IDs: random, Jitter: random.float, Sidecar: client, Outside: outside{l}, Telemetry: t,
		}, programs[r.app])
	}
	if err != nil {
		panic(fmt.Sprintf("the simulated program %s can not start: %v", r, err)) // a mistake in this package
	}
	r.program = l
	go func() {
		// A crashed program runs without effect until it notices; its result is ignored. A supervisor restarts a
		// program that ends by itself.
		err := l.service.Run(ctx)
		w.arrive("end of "+l.String(), func() {
			if !l.over() {
				w.note(fmt.Sprintf("! %s ended by itself: %v", l, err))
				w.fired["ended by itself"]++
				w.crash(r)
			}
		})
	}()
}

// crash ends a program as kill -9 does. Nothing that it still does reaches the outside.
func (w *World) crash(r *replica) {
	l := r.program
	if l == nil {
		return
	}
	w.note("! crash of " + r.String())
	r.program = nil
	close(l.gone)
	l.stop()
	for _, x := range slices.SortedFunc(maps.Keys(l.inFlight), func(a, b *exchange) int { return strings.Compare(a.label, b.label) }) {
		w.after(w.latency(), "cut off "+x.label, func() { x.end(nil) })
	}
	w.after(w.between(100*time.Millisecond, 3*time.Second), r.String()+" starts", func() { w.start(r) })
}

// close ends all programs permanently.
func (w *World) close() {
	w.closing = true
	for _, r := range w.replicas {
		if r.program != nil {
			close(r.program.gone)
			r.program.stop()
			r.program = nil
		}
	}
}

// exchange is one request that a program handles.
type exchange struct {
	label string
	over  bool
	then  func(*httptest.ResponseRecorder)
}

// end passes on the answer, or nil if the program gave none or crashed before. Only the first call counts.
func (x *exchange) end(answer *httptest.ResponseRecorder) {
	if !x.over {
		x.over = true
		x.then(answer)
	}
}

// serve lets a program handle a request. It calls then in the world when the program has answered or crashed.
func (w *World) serve(l *life, label string, request *http.Request, then func(*httptest.ResponseRecorder)) {
	if r := l.replica; r.frozen != "" {
		r.held = append(r.held, func() {
			if l.over() {
				then(nil)
				return
			}
			w.serve(l, label, request, then)
		})
		return
	}
	x := &exchange{label: label, then: then}
	l.inFlight[x] = true
	go func() { // ends with the handler, whose waits all have a deadline
		recorder := answerOf(l.service, request)
		w.arrive("handled "+l.String()+" "+label, func() {
			delete(l.inFlight, x)
			if !l.over() {
				x.end(recorder)
			}
		})
	}()
}

// answerOf is a program's answer, or nil if it breaks the connection, as net/http does after a panic.
func answerOf(program http.Handler, request *http.Request) (answer *httptest.ResponseRecorder) {
	defer func() {
		switch value := recover(); value {
		case nil:
		case http.ErrAbortHandler:
			answer = nil
		default:
			panic(value)
		}
	}()
	answer = httptest.NewRecorder()
	program.ServeHTTP(answer, request)
	return answer
}

// inaccurateClock is the clock of one program.
type inaccurateClock struct {
	clock.System
	by     time.Duration // its error
	random *randomness
}

// Now is the time by that clock.
func (c inaccurateClock) Now() time.Time { return c.System.Now().Add(c.by) }

// Sleep takes a little longer than asked, as in reality. If two sleepers woke at the same instant, the seed would not
// decide their order.
func (c inaccurateClock) Sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		d += time.Duration(c.random.float() * float64(20*time.Microsecond))
	}
	return c.System.Sleep(ctx, d)
}

// randomness is the source of ids and jitter for one life of a program.
type randomness struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newRandomness(seed uint64, whose string) *randomness {
	h := fnv.New64a()
	h.Write([]byte(whose))
	return &randomness{rng: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

func (r *randomness) float() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.Float64()
}

// New makes a UUIDv7 of the virtual time, as id.Random does of the real one.
func (r *randomness) New() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var u uuid.UUID
	ms := time.Now().UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	for i := 6; i < 16; i++ {
		u[i] = byte(r.rng.Uint32())
	}
	u[6], u[8] = u[6]&0x0f|0x70, u[8]&0x3f|0x80
	return u.String()
}
