package text_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"caravan/internal/text"
)

var rules = map[string]text.Rule{"line": text.Line, "multiline": text.Multiline, "name": text.Name}

// Text in many languages passes every rule unchanged.
func TestTextOfManyLanguagesIsKept(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "ASCII": "O'Brien & Sons #1", "umlauts": "Größe", "Vietnamese": "Nguyễn Thị Ánh", "Greek": "Αθήνα", "Chinese": "王小明",
		"Korean": "김철수", "Hebrew": "שלום", "Hebrew with points": "בְּרֵאשִׁ֖ית", "Thai": "น้ำปลา", "Tibetan": "བོད་ཡིག",
		"Persian non-joiner": "می\u200cخواهم", "Persian after a letter that does not join": "کار\u200cها", "Arabic with vowel signs": "مِ\u200cهَا",
		"Hindi joiner": "क्\u200dष", "Hindi non-joiner": "क्\u200cष", "Bengali joiner before a virama": "র\u200d্যাম", "Sinhala": "ශ්\u200dරී ලංකා",
		"Malayalam at the end": "അവന്\u200d", "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u180b", "Japanese variant": "葛\U000E0100城",
		"emoji": "❤\uFE0F", "family": "👨\u200d👩\u200d👧", "skin tone": "👩🏽\u200d🚀", "rainbow flag": "🏳\uFE0F\u200d🌈", "shaking head": "🙂\u200d↔\uFE0F",
		"keycap": "1\uFE0F\u20E3", "Scotland": "🏴\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F",
		"unassigned emoji": "\U0001FAFF", "Arabic number sign": "\u0600١", "euro": "5 €",
	} {
		for kind, rule := range rules {
			if got, err := rule.Clean(s, 0); got != s || err != nil {
				t.Errorf("%s of %s: %q, %v", kind, name, got, err)
			}
		}
	}
}

// Every rule refuses these texts, with a message that names the character.
func TestWhatIsRefused(t *testing.T) {
	for s, named := range map[string]string{
		"\x00": "U+0000", "a\x00b": "U+0000", "a\x1b[31mb": "U+001B", "a\tb": "U+0009", "a\x7fb": "U+007F", "a\u0085b": "U+0085", "a\u009bb": "U+009B",
		"a\u202Eb": "U+202E", "a\u2066b": "U+2066", "a\u2069": "U+2069", "a\u200Eb": "U+200E", "a\u061Cb": "U+061C",
		"\u200B": "U+200B", "a\u200Bb": "U+200B", "\uFEFFa": "U+FEFF", "a\uFEFF": "U+FEFF", "a\u00ADb": "U+00AD", "a\u2060b": "U+2060", "a\u180Eb": "U+180E",
		"\u3164": "U+3164", "\u115F": "U+115F", "\uFFA0": "U+FFA0", "a\u034Fb": "U+034F", "a\uFFF9b": "U+FFF9", "a\U000E0001b": "U+E0001", "a\u2065b": "U+2065",
		"\u200D": "U+200D", "a\u200Db": "U+200D", "a\u200Cb": "U+200C", "خ\u200C": "U+200C", "\u200Cخ": "U+200C", "خ\u200C خ": "U+200C", "خ\u200C\u200Cخ": "U+200C",
		"❤\u200D": "U+200D", "❤\u200Da": "U+200D", "❤\u200C❤": "U+200C", "王\u200D王": "U+200D", "a\uFE0F": "U+FE0F", "a\uFE00": "U+FE00", "❤\uFE0F\uFE0F": "U+FE0F",
		"a\U000E0100": "U+E0100", "a\U000E0067": "U+E0067", "🏴\U000E0067": "U+E0067", "🏴\U000E0067\U000E007F": "U+E0067", "🏴\U000E007F": "U+E007F",
		"\uE000": "U+E000", "\U0010FFFD": "U+10FFFD", "a\uFFFF": "U+FFFF", "\uFDD0": "U+FDD0", "J\uFFFDrg": "U+FFFD", "a\uFFFCb": "U+FFFC",
		"\u0301a": "U+0301", "a" + strings.Repeat("\u0489", 17): "U+0489", "\u2800": "visible", "\u2800 \u2800": "visible",
		"\xff": "UTF-8", "a\xed\xa0\x80": "UTF-8", "a\xc0\x80": "UTF-8",
	} {
		for kind, rule := range rules {
			got, err := rule.Clean(s, 100)
			var broken *text.Error
			if !errors.As(err, &broken) || broken.Code != "text" || !strings.Contains(err.Error(), named) || got != "" {
				t.Errorf("%s of %+q: %+q, %v; want an error that names %s", kind, s, got, err, named)
			}
		}
	}
}

func TestWhatIsCleaned(t *testing.T) {
	for s, want := range map[string]struct{ line, multiline, name string }{
		" \t a \r\n":     {"a", "a", "a"},
		"\u00a0a\u3000":  {"a", "a", "a"},
		"   ":            {"", "", ""},
		"Jose\u0301":     {"José", "José", "José"},
		"\u212B":         {"Å", "Å", "Å"},
		"a  b":           {"a  b", "a  b", "a b"},
		"a\u00a0\u2003b": {"a\u00a0\u2003b", "a\u00a0\u2003b", "a b"},
		"a\nb":           {"!", "a\nb", "!"},
		"a\r\n\r\nb":     {"!", "a\n\nb", "!"},
		"a\rb":           {"!", "a\nb", "!"},
		"a\u2028b":       {"!", "!", "!"},
		"a\vb":           {"!", "!", "!"},
		"a\x1fb":         {"!", "!", "!"},
	} {
		for kind, want := range map[string]string{"line": want.line, "multiline": want.multiline, "name": want.name} {
			got, err := rules[kind].Clean(s, 0)
			if err != nil {
				got = "!"
			}
			if got != want {
				t.Errorf("%s of %+q: %+q, %v; want %+q", kind, s, got, err, want)
			}
		}
	}
}

func TestLengthIsInCharactersOfTheCleanText(t *testing.T) {
	for s, fits := range map[string]bool{
		"12345": true, "123456": false, " 12345 ": true, "ééééé": true, strings.Repeat("e\u0301", 5): true, strings.Repeat("e\u0301", 6): false,
		"😀😀😀😀😀": true, "😀😀😀😀😀😀": false, strings.Repeat(" ", 61): false, strings.Repeat("\xff", 61): false,
	} {
		_, err := text.Line.Clean(s, 5)
		var broken *text.Error
		if fits && err != nil || !fits && (!errors.As(err, &broken) || broken.Code != "max" || !strings.Contains(err.Error(), "5 characters")) {
			t.Errorf("%+q: %v", s, err)
		}
	}
}

// A rule returns its own result unchanged: valid, normalized, trimmed, and not longer than the limit.
func TestCleaningTwiceChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SampledFrom([]rune(" \t\r\n\u0301\u0327\u0344\u034F\u200B\u200C\u200D\u202E\uFEFF\u00A0\u2028\u3000\u0300\u094D\u0915\u06CC\u062E❤\uFE0F\u2126\uAC00\u1100\u1161\u11A8\U000E0100葛"))
		s := rapid.OneOf(rapid.String(), rapid.StringOf(odd)).Draw(t, "text")
		most := rapid.IntRange(0, 20).Draw(t, "most")
		for kind, rule := range rules {
			once, err := rule.Clean(s, most)
			if err != nil {
				continue
			}
			if twice, err := rule.Clean(once, most); twice != once || err != nil {
				t.Fatalf("%s of %+q: %+q, then %+q, %v", kind, s, once, twice, err)
			}
			if !utf8.ValidString(once) || !norm.NFC.IsNormalString(once) || strings.TrimSpace(once) != once || most > 0 && utf8.RuneCountInString(once) > most {
				t.Fatalf("%s of %+q: %+q", kind, s, once)
			}
		}
	})
}

func ExampleRule_Clean() {
	name, err := text.Name.Clean("  Zoe\u0308   Doe ", 100)
	fmt.Println(name, err)
	_, err = text.Line.Clean("free\u200b gift", 100)
	fmt.Println("name", err)
	// Output:
	// Zoë Doe <nil>
	// name must not contain invisible characters (U+200B)
}

func BenchmarkClean(b *testing.B) {
	for name, s := range map[string]string{"ASCII": "Enamel mug, 0.3 l, blue", "Persian": "می\u200cخواهم چای بنوشم"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := text.Line.Clean(s, 200); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
