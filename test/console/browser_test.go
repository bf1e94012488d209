package console

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// bound is the longest wait for what should be on a page. On an idle machine it is one or two seconds.
const bound = 60 * time.Second

// browser is one tab.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string
}

// chromium is the path of the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no browser: apt-get install chromium")
	}
	t.Skip("no browser is installed: apt-get install chromium")
	return ""
}

// open starts a browser without any cookies.
func open(t *testing.T, base string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(2*time.Minute),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as the context of the first call
		t.Fatal(err)
	}
	b := &browser{t: t, ctx: ctx, base: base}
	const watch = `window.violations = []; addEventListener("securitypolicyviolation", (e) => window.violations.push(e.violatedDirective + " " + e.blockedURI));`
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
		return err
	}))
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, bound)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

// value is the value of a JavaScript expression.
func value[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, bound)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// await waits until a JavaScript expression is true.
func (b *browser) await(what, expression string) {
	b.t.Helper()
	deadline := time.Now().Add(bound)
	for {
		ctx, cancel := context.WithTimeout(b.ctx, bound)
		held, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		cancel()
		if err == nil && held { // an error means that the page is being loaded
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("waited %s for %s (%v); the page says:\n%s", bound, what, err, value[string](b, "document.body.innerText"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// awaitText waits until an element contains a text.
func (b *browser) awaitText(selector, text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("%q in %s", text, selector), fmt.Sprintf("document.querySelector(%s)?.innerText.includes(%s)", quote(selector), quote(text)))
}

func quote(value any) string {
	raw, _ := json.Marshal(value)
	return string(raw)
}

// press focuses a button and presses Enter, as people without a mouse do.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(selector)), chromedp.Focus(chromedp.CSS(selector)), chromedp.KeyEvent("\r"))
}

// signIn signs somebody in with the keyboard only.
func (b *browser) signIn(p person) {
	b.t.Helper()
	b.visit("/sign-in")
	b.do(chromedp.Focus(chromedp.CSS("#email")), chromedp.KeyEvent(p.email), chromedp.KeyEvent("\t"), chromedp.KeyEvent(p.password), chromedp.KeyEvent("\r"))
}

// mark marks the page, and reloaded reports whether it was loaded again since then.
func (b *browser) mark() { b.t.Helper(); value[int](b, "window.marked = 1") }

func (b *browser) reloaded() bool { b.t.Helper(); return value[bool](b, "window.marked !== 1") }

// look is how a person sees a page.
type look struct {
	name, scheme string
	width        int64
}

var looks = []look{{"light", "light", 1280}, {"dark", "dark", 1280}, {"narrow", "light", 360}}

// inspect checks the page in every look, and keeps pictures if the run wants them.
func (b *browser) inspect(name string) {
	b.t.Helper()
	for _, l := range looks {
		b.do(chromedp.EmulateViewport(l.width, 900), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
			})
			return err
		}))
		if wide := value[int64](b, "document.documentElement.scrollWidth"); wide > l.width {
			b.t.Errorf("%s (%s): the page is %d wide and the window %d", name, l.name, wide, l.width)
		}
		for _, text := range value[[]string](b, pale) {
			b.t.Errorf("%s (%s): too little contrast: %s", name, l.name, text)
		}
		for _, text := range value[[]string](b, "window.violations") {
			b.t.Errorf("%s (%s): the browser refused %s", name, l.name, text)
		}
		b.picture(name + "-" + l.name)
	}
	b.do(chromedp.EmulateViewport(1280, 900))
}

func (b *browser) picture(name string) {
	b.t.Helper()
	if settings.screenshots == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, bound)
	defer cancel()
	raw, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(settings.screenshots, name+".png"), raw, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// pale lists visible texts with less contrast than 4.5 to 1 (https://www.w3.org/TR/WCAG22/#contrast-minimum).
const pale = `(() => {
  const parse = (c) => (c.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const back = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest("svg, script, :disabled")) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.add(e.tagName + "." + e.className + " " + walker.currentNode.data.trim().slice(0, 40));
  }
  return [...found];
})()`
