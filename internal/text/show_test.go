package text_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"caravan/internal/text"
)

func TestShow(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "0.3 l mug": "0.3 l mug", "a\r\nBcc: b": "a  Bcc: b", "a\tb": "a b", "a\u2028b": "a b",
		"safe\u202Egnp": "safegnp", "\u2067a\u2069": "a", "a\u200Bb\x00c\x1b[1m": "abc[1m", "\xffab\xff": "ab",
		"\u0301a": "a", " \u0301\u0302 a": "a", "\u2800": "", "\u202E": "",
		"12345678901": "123456789…", "12345678 01": "12345678…", "<b>&amp;</b>": "<b>&amp;<…",
		"👨\u200d👩\u200d👧": "👨\u200d👩\u200d👧", "a\u200d👩": "a👩", "👩\u200d\u202E": "👩",
		strings.Repeat("é\n", 1<<20): "é é é é é…",
	} {
		if got := text.Line.Show(s, 10); got != want {
			t.Errorf("%.40q is shown as %+q; want %+q", s, got, want)
		}
	}
	if got := text.Multiline.Show("a\r\n\x00b", 100); got != "a\nb" {
		t.Errorf("two lines are shown as %q", got)
	}
}

// What is shown is text that the rule accepts, and text that the rule accepts is shown.
func TestShowGivesWhatCleanAccepts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SampledFrom([]rune("ab \t\r\n\u0301\u0327\u0344\u034F\u200B\u200C\u200D\u202E\u2068\uFEFF\u00A0\u2028\u3000\u094D\u0915\u06CC\u062E❤\uFE0F\uAC00\u1100\u1161\u11A8\U000E0100葛\U0001F3F4\U000E0067\U000E007F\x00"))
		s := rapid.OneOf(rapid.String(), rapid.StringOf(odd)).Draw(t, "text")
		most := rapid.IntRange(1, 20).Draw(t, "most")
		for kind, rule := range rules {
			shown := rule.Show(s, most)
			if again, err := rule.Clean(shown, most); err != nil || again != shown {
				t.Fatalf("%s of %+q: %+q, then %+q, %v", kind, s, shown, again, err)
			}
			if clean, err := rule.Clean(s, most); err == nil && clean != shown {
				t.Fatalf("%s of %+q: %+q; want %+q", kind, s, shown, clean)
			}
		}
	})
}

func TestIsolate(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "Ada": "Ada", "王小明": "王小明", "שלום": "\u2068שלום\u2069", "Ada محمد": "\u2068Ada محمد\u2069", "\u0661": "\u2068\u0661\u2069",
	} {
		if got := text.Isolate(s); got != want {
			t.Errorf("%q: %+q; want %+q", s, got, want)
		}
	}
}

func ExampleRule_Show() {
	fmt.Println(text.Line.Show("Mug\u202e\r\nfree", 100))
	// Output: Mug  free
}
