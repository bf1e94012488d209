package console

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"caravan/dapr/launcher"
)

var update = flag.Bool("update", false, "write the pictures of the tour")

// The tour and its pictures.
const (
	tourFile     = "../../docs/tour.md"
	pictures     = "../../docs/pictures"
	largestImage = 200_000 // bytes
)

// tourStep is a section of the tour. What is bold there is pressed, and what is in “quotes” is seen.
type tourStep struct {
	*browser
	heading, text string
	unused        []string // what is bold or quoted and not used yet
}

// press presses a button or link that the section names in bold. row is the process, connection or order beside which it is, "" if
// there is only one.
func (s *tourStep) click(name, row string) {
	s.t.Helper()
	s.use("**"+name+"**", row)
	find := fmt.Sprintf(`[...(%s).querySelectorAll("button, a")].find((e) => e.innerText.trim() === %s && !e.disabled)`, rowOf(row), quote(name))
	s.await(name+" "+row, find)
	value[bool](s.browser, "("+find+").focus(), true")
	s.do(chromedp.KeyEvent("\r"))
}

// see waits until the page, or a row of it, has a text that the section quotes.
func (s *tourStep) see(text, row string) {
	s.t.Helper()
	s.use("“"+text+"”", row)
	s.await(text+" "+row, fmt.Sprintf(`(%s).innerText.includes(%s)`, rowOf(row), quote(text)))
}

// rowOf is a JavaScript expression for a row of a table, by the text of its first cell, or of its first two with an arrow between them;
// the newest order's if it is "order".
func rowOf(row string) string {
	switch row {
	case "":
		return "document.body"
	case "order":
		return `document.querySelector("#own-orders tbody tr") ?? document.createElement("p")`
	}
	cells := strings.Split(row, " → ")
	return fmt.Sprintf(`[...document.querySelectorAll("tbody tr")].find((e) => %s.every((text, i) => e.cells[i]?.innerText.trim() === text)) ?? document.createElement("p")`, quote(cells))
}

// use fails unless the section has the text, and the row if there is one.
func (s *tourStep) use(text, row string) {
	s.t.Helper()
	if !strings.Contains(s.text, text) || row != "" && row != "order" && !strings.Contains(s.text, "`"+row+"`") {
		s.t.Fatalf("%s: section %q does not say %s %s", tourFile, s.heading, text, row)
	}
	s.unused = slices.DeleteFunc(s.unused, func(other string) bool { return other == text })
}

// picture writes a picture of what the window shows, if the run wants it, and checks the one that exists.
func (s *tourStep) picture(name string, height int64) {
	s.t.Helper()
	file := filepath.Join(pictures, name)
	if !strings.Contains(s.text, "(pictures/"+name+")") {
		s.t.Errorf("%s: section %q does not show %s", tourFile, s.heading, name)
	}
	if *update {
		s.do(chromedp.EmulateViewport(1120, height))
		value[bool](s.browser, "document.activeElement.blur(), scrollTo(0, 0), true")
		ctx, cancel := context.WithTimeout(s.ctx, bound)
		defer cancel()
		raw, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err == nil {
			err = os.WriteFile(file, raw, 0o644)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.do(chromedp.EmulateViewport(1280, 900))
	}
	info, err := os.Stat(file)
	if err != nil {
		s.t.Fatalf("%v: go test -run TestConsole/tour -update writes it", err)
	}
	if info.Size() > largestImage {
		s.t.Errorf("%s has %d bytes", name, info.Size())
	}
}

// takeTour does what docs/tour.md says, so that it stays true. The steps are in the order of its sections.
func takeTour(t *testing.T, s *stack) {
	steps := []struct {
		heading string
		take    func(*tourStep, *stack)
	}{
		{"Everything runs", tourBoard}, {"An order ends", tourOrder}, {"A sidecar stops", tourSidecar}, {"Why it waits", tourWait},
		{"The broker dies", tourBroker}, {"A connection is cut", tourConnection}, {"Nothing was lost", tourAudit},
	}
	s.restored("payments-daprd") // one step freezes it, and the next one lets it continue
	b := open(t, s.ConsoleURL())
	sections := readTour(t)
	if len(sections) != len(steps) {
		t.Errorf("%s has %d sections and the test %d", tourFile, len(sections), len(steps))
	}
	for i, step := range steps {
		done := t.Run(step.heading, func(t *testing.T) {
			b.t = t
			if i >= len(sections) || sections[i].heading != step.heading {
				t.Fatalf("section %d of %s is not %q", i+1, tourFile, step.heading)
			}
			one := sections[i]
			one.browser = b
			step.take(&one, &stack{s.Stack, t, s.admin})
			if len(one.unused) > 0 {
				t.Errorf("section %q says %q, which is not tried", one.heading, one.unused)
			}
		})
		if !done {
			return // the next step begins where this one ends
		}
	}
}

var inTour = regexp.MustCompile(`\*\*[^*]+\*\*|“[^”]+”`)

// readTour reads the numbered sections of the tour.
func readTour(t *testing.T) []tourStep {
	t.Helper()
	raw, err := os.ReadFile(tourFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []tourStep
	for _, section := range strings.Split(string(raw), "\n## ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		_, heading, numbered := strings.Cut(heading, ". ")
		if !numbered {
			continue
		}
		text = strings.Join(strings.Fields(text), " ")
		all = append(all, tourStep{heading: heading, text: text, unused: inTour.FindAllString(text, -1)})
	}
	return all
}

func tourBoard(step *tourStep, _ *stack) {
	step.signIn(staff)
	step.awaitText("h1", "Board")
	step.use("**Sign in**", "")
	for _, process := range []string{"payments", "payments-daprd", "broker"} {
		step.see("✓ ready", process)
	}
	step.see("Every invariant holds", "")
}

func tourOrder(step *tourStep, _ *stack) {
	step.click("Break it", "")
	step.awaitText("h1", "Break it")
	step.mark()
	step.click("Place 1 order", "")
	step.see("✓ confirmed", "order")
	if step.reloaded() {
		step.t.Error("the page was loaded again")
	}
	step.press("#own-orders tbody a")
	for _, text := range []string{"reserve: reserved", "authorize: authorized", "capture: captured", "commit: committed", "handled orders.confirmed.v1", "POST /v1/orders"} {
		step.see(text, "")
	}
}

func tourSidecar(step *tourStep, _ *stack) {
	step.click("Break it", "")
	step.click("Stop", "payments-daprd")
	step.see("✗ frozen", "payments-daprd")
	step.click("Place 1 order", "")
	step.see("reserved, waiting", "order")
	step.see("authorize: payments: ", "order")
	step.click("Board", "")
	step.await("the reason", `document.querySelector("#waiting tbody tr td[data-label=Why]")?.innerText.includes("payments")`)
	step.await("the verdict", `document.querySelector("#verdict .good")`)
	step.await("failed calls", `document.querySelector("#a-orders-payments.bad")?.innerText.includes("failed") && !document.querySelector("#traffic .stale")`)
	step.use("“failed”", "")
	step.picture("board.png", 1000)
}

func tourWait(step *tourStep, s *stack) {
	step.press("#waiting tbody a")
	step.awaitText("h1", "Order ")
	step.mark()
	for _, text := range []string{"Waits at “authorize”.", "Next try", "First failure", "Last failure"} {
		step.awaitText("#wait", text)
		step.use("“"+strings.NewReplacer("“", "", "”", "", ".", "").Replace(text)+"”", "")
	}
	step.use("“third so far”", "")
	step.await("later attempts", `document.querySelector("#wait")?.innerText.includes("so far")`)
	step.see("second attempt to authorize failed", "")
	step.picture("order.png", 1150)
	step.click("Run now", "")
	step.see("The order is tried again now", "")
	other := asStaff(step.t, s) // a second window
	other.visit("/break")
	step.use("**Break it**", "")
	step.use("**Continue**", "payments-daprd")
	other.press("#p-payments-daprd button[value=continue]")
	step.see("✓ confirmed", "")
	if step.reloaded() {
		step.t.Error("the page was loaded again")
	}
}

func tourBroker(step *tourStep, _ *stack) {
	step.visit("/break")
	step.mark()
	step.click("Kill", "broker")
	step.await("the broker to be away", `document.querySelector("#p-broker").dataset.state !== "ready"`)
	step.click("Place 10 orders", "")
	step.see("10 of 10 orders placed.", "")
	step.await("all to be confirmed", `document.querySelectorAll("#own-orders tr[data-status=confirmed]").length === 10`)
	step.use("“✓ confirmed”", "")
	step.see("✓ ready", "broker")
	if step.reloaded() {
		step.t.Error("the page was loaded again")
	}
	step.press("#own-orders tbody a")
	step.see("handled orders.confirmed.v1", "")
}

func tourConnection(step *tourStep, s *stack) {
	step.t.Cleanup(func() { _ = s.SetConnection("payments:sidecar", launcher.Intact) })
	step.click("Break it", "")
	step.awaitText("h1", "Break it")
	step.mark()
	const connection = "payments → payments-daprd"
	step.click("Cut", connection)
	step.see("✗ cut", connection)
	step.click("Place 1 order", "")
	step.see("reserved, waiting", "order")
	step.click("Restore", connection)
	step.see("✓ intact", connection)
	step.see("✓ confirmed", "order")
	step.click("Slow", connection)
	step.see("… slow", connection)
	step.click("Restore", connection)
	step.see("✓ intact", connection)
	if step.reloaded() {
		step.t.Error("the page was loaded again")
	}
}

func tourAudit(step *tourStep, _ *stack) {
	step.click("Board", "")
	step.see("Every invariant holds", "")
	step.see("No order waits.", "")
}
