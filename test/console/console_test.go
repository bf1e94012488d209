package console

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"caravan/dapr/client"
)

// TestConsole uses one stack for everything, in this order: what is broken is whole again at the end of each part.
func TestConsole(t *testing.T) {
	chromium(t)
	s := start(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *stack)
	}{
		{"a customer is refused", customerIsRefused},
		{"tour", takeTour},
		{"an order is found and refunded", orderFound},
		{"a sidecar is killed", sidecarKilled},
		{"a program is killed", programKilled},
		{"hostile texts", hostileTexts},
		{"dead letters", deadLetters},
		{"a notice goes", noticeGoes},
		{"the connection is lost", connectionLost},
		{"the audit", auditHolds},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, &stack{s.Stack, t, s.admin}) })
	}
}

// restored makes a process continue when the test ends, whatever it found.
func (s *stack) restored(name string) {
	s.t.Cleanup(func() { _ = s.Kill(name, syscall.SIGCONT) })
}

func asStaff(t *testing.T, s *stack) *browser {
	t.Helper()
	b := open(t, s.ConsoleURL())
	b.signIn(staff)
	b.awaitText("h1", "Board")
	return b
}

func customerIsRefused(t *testing.T, s *stack) {
	b := open(t, s.ConsoleURL())
	b.visit("/")
	b.awaitText("h1", "Sign in")
	b.inspect("sign-in")
	b.signIn(customer)
	b.awaitText("#problem", "Staff permissions are needed")
	b.inspect("refused")
	b.visit("/orders")
	b.awaitText("h1", "Sign in")
}

func orderFound(t *testing.T, s *stack) {
	b := asStaff(t, s)
	b.visit("/break")
	b.press("button[name=count][value='1']")
	b.press("#own-orders tr[data-status=confirmed] a")
	b.awaitText("h1", "Order ")
	b.awaitText("#traces", "POST /v1/orders")
	b.awaitText("#lines", "POST /v1/orders")
	b.inspect("order")
	id := strings.TrimPrefix(value[string](b, "location.pathname"), "/orders/")
	trace := value[string](b, `document.querySelector("#traces code").textContent`)
	user := value[string](b, `document.querySelector(".facts a").textContent`)
	for _, text := range []string{id, trace} {
		b.visit("/orders?q=" + text)
		b.awaitText("h1", "Order "+id)
	}
	b.visit("/orders?q=" + user)
	b.awaitText("main", id)
	b.visit("/orders/" + id)
	b.press("#order-actions button[formaction$='/refund']")
	b.awaitText("#notices", "The refund is being made")
	b.awaitText("#order-state", "refunded")
	b.awaitText("#timeline", "refund: refunded")
	b.visit("/orders/" + id + "/text")
	b.awaitText("body", "Trace "+trace)
	b.visit("/orders?q=nobody")
	b.awaitText("main", "Nothing is known about nobody")
	b.inspect("nothing-found")
}

// killedOftenOrderWaits kills a process until the launcher waits for some time before it starts it again, and places an order, which
// waits meanwhile and then ends. The browser shows the page to break things.
func killedOftenOrderWaits(b *browser, name string) {
	b.t.Helper()
	row := "#p-" + name
	b.mark()
	b.press("button[name=count][value='1']") // fills the wallet, which does not work later
	b.await("the order to be confirmed", `document.querySelector("#own-orders tbody tr")?.dataset.status === "confirmed" && document.querySelector("#placing").innerText.includes("placed.")`)
	restarts := value[int](b, `parseInt(document.querySelector("`+row+` td[data-label=Restarts]").textContent)`)
	for n := range 6 {
		b.await(name+" to run", `document.querySelector("`+row+` button[value=kill]")`)
		b.press(row + " button[value=kill]")
		b.await("the restart to be counted", `parseInt(document.querySelector("`+row+` td[data-label=Restarts]").textContent) > `+strconv.Itoa(restarts+n))
	}
	b.press("button[name=count][value='1']")
	b.await("the order to wait", `document.querySelector("#own-orders tr[data-status=reserved] td[data-label='Waits for']")?.innerText.match(/authorize: payments: .*next try/)`)
	b.await(name+" to be ready", `document.querySelector("`+row+`").dataset.state === "ready"`)
	b.await("the order to be confirmed", `document.querySelector("#own-orders tbody tr").dataset.status === "confirmed"`)
	if b.reloaded() {
		b.t.Error("the page was loaded again")
	}
}

func sidecarKilled(t *testing.T, s *stack) {
	b := asStaff(t, s)
	b.visit("/break")
	killedOftenOrderWaits(b, "payments-daprd")
	b.inspect("break")
}

func programKilled(t *testing.T, s *stack) {
	b := asStaff(t, s)
	b.visit("/break")
	killedOftenOrderWaits(b, "payments")
}

func hostileTexts(t *testing.T, s *stack) {
	s.rename()
	b := asStaff(t, s)
	b.visit("/break")
	newest := value[string](b, `document.querySelector("#own-orders tbody tr").id`)
	b.press("button[name=count][value='1']")
	b.await("the order", `document.querySelector("#own-orders tbody tr").id !== `+quote(newest))
	b.press("#own-orders tbody a")
	b.awaitText("#order-state", hostile)
	s.record(strings.TrimPrefix(value[string](b, "location.pathname"), "/orders/"))
	b.awaitText("#lines", "line "+hostile)
	b.awaitText("#traces", "span "+hostile)
	b.await("the attribute", `document.querySelector("#traces").textContent.includes("onerror")`)
	b.visit("/orders")
	b.awaitText("main", hostile)
	b.visit(value[string](b, `"/orders?q=" + encodeURIComponent("`+strings.ReplaceAll(hostile, `"`, `\"`)+`")`))
	b.awaitText("main", "An id has")
	if value[bool](b, `"pwned" in window || document.querySelector("main img, main script") !== null`) {
		t.Error("a text became an element")
	}
}

func deadLetters(t *testing.T, s *stack) {
	b := asStaff(t, s)
	s.publish("not an event " + hostile)
	b.visit("/letters")
	b.mark()
	b.await("the letter", `document.querySelector("#letter-list tbody tr")`)
	b.press("#letter-list tbody button")
	b.awaitText("#notices", "It did not work")
	b.awaitText("#letter-list", "failed again")
	b.press("#letter-list form[action='/letters/replay'] button")
	b.awaitText("#batches", "finished")
	b.awaitText("#batches", "1 of 1")
	if b.reloaded() {
		t.Error("the page was loaded again")
	}
	b.inspect("letters")
	b.press("#letter-list button[formaction$='/discard']")
	b.awaitText("#letter-list", "There is no such letter")
	if value[bool](b, `"pwned" in window`) {
		t.Error("a text became an element")
	}
}

// When a part of the page loses a notice, as "as of 12:00:00, there is no newer answer yet", what follows it keeps the focus.
func noticeGoes(t *testing.T, s *stack) {
	b := asStaff(t, s)
	b.visit("/break")
	b.await("the buttons", `document.querySelector("#p-users button")`)
	value[bool](b, `document.querySelector("#p-users button").focus(), true`)
	value[bool](b, `((notice) => {
		notice.className = "stale";
		document.querySelector("#processes .note").before(notice, "\n");
		return true;
	})(document.createElement("p"))`)
	b.await("the part without the notice", `!document.querySelector("#processes .stale")`)
	if !value[bool](b, `document.activeElement === document.querySelector("#p-users button")`) {
		t.Error("the button has lost the focus")
	}
}

func connectionLost(t *testing.T, s *stack) {
	b := asStaff(t, s)
	b.visit("/break")
	b.await("the buttons", `document.querySelector("#p-users button")`)
	b.mark()
	value[bool](b, `document.querySelector("#p-users button").focus(), true`)
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := s.Kill("console", signal); err != nil {
			t.Fatal(err)
		}
		b.await("the banner", map[bool]string{
			true: `!document.querySelector("#connection").hidden`, false: `document.querySelector("#connection").hidden`,
		}[signal == syscall.SIGSTOP])
	}
	if b.reloaded() || !value[bool](b, `document.activeElement === document.querySelector("#p-users button")`) {
		t.Error("the page was loaded again or lost the focus")
	}
	if err := s.Kill("console", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.awaitText("h1", "Sign in") // sessions are in memory only
}

func auditHolds(t *testing.T, s *stack) {
	b := asStaff(t, s)
	b.awaitText("#verdict", "Every invariant holds")
	b.awaitText("#states", "confirmed")
	b.inspect("board")
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	var report client.Audit
	for !report.Complete {
		var err error
		if report, err = s.admin.OpsAudit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if len(report.Findings) > 0 {
		t.Errorf("the audit found %v", report.Findings)
	}
}
