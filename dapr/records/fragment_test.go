package records

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"
)

var fragmentTime = time.Date(2026, 11, 27, 9, 0, 1, 123456789, time.UTC)

func TestParseDocker(t *testing.T) {
	const end = `,"stream":"stdout","time":"2026-11-27T09:00:01.123456789Z"}`
	for name, test := range map[string]struct {
		record string
		want   Fragment
		ok     bool
	}{
		"a line":         {`{"log":"{\"msg\":\"a\\\"b\"}\n"` + end, Fragment{Stream: "stdout", Text: `{"msg":"a\"b"}`}, true},
		"with a tag":     {`{"log":"a\n","stream":"stderr","attrs":{"tag":"caravan/orders/1"},"time":"2026-11-27T09:00:01.123456789Z"}`, Fragment{Stream: "stderr", Text: "a"}, true},
		"a part":         {`{"log":"abc"` + end, Fragment{Stream: "stdout", Text: "abc", Partial: true}, true},
		"an empty line":  {`{"log":"\n"` + end, Fragment{Stream: "stdout"}, true},
		"unicode":        {`{"log":"\u003cé\u0000\n"` + end, Fragment{Stream: "stdout", Text: "<é\x00"}, true},
		"no time":        {`{"log":"a\n","stream":"stdout"}`, Fragment{}, false},
		"no stream":      {`{"log":"a\n","time":"2026-11-27T09:00:01Z"}`, Fragment{}, false},
		"another stream": {`{"log":"a\n","stream":"x","time":"2026-11-27T09:00:01Z"}`, Fragment{}, false},
		"no text":        {`{"stream":"stdout","time":"2026-11-27T09:00:01Z"}`, Fragment{}, false},
		"a number":       {`{"log":1` + end, Fragment{}, false},
		"half":           {`{"log":"a\n","stream":"std`, Fragment{}, false},
		"zeros":          {"\x00\x00\x00", Fragment{}, false},
		"nothing":        {"", Fragment{}, false},
	} {
		t.Run(name, func(t *testing.T) { compareFragment(t, ParseDocker, test.record, test.want, test.ok) })
	}
}

func TestParseCRI(t *testing.T) {
	const start = "2026-11-27T09:00:01.123456789Z "
	for name, test := range map[string]struct {
		record string
		want   Fragment
		ok     bool
	}{
		"a line":               {start + `stdout F {"msg":"a b"}`, Fragment{Stream: "stdout", Text: `{"msg":"a b"}`}, true},
		"a part":               {start + "stderr P abc ", Fragment{Stream: "stderr", Text: "abc ", Partial: true}, true},
		"an empty line":        {start + "stdout F ", Fragment{Stream: "stdout"}, true},
		"without a last blank": {start + "stdout F", Fragment{Stream: "stdout"}, true},
		"a blank":              {start + "stdout F  a", Fragment{Stream: "stdout", Text: " a"}, true},
		"another zone":         {"2026-11-27T10:00:01.123456789+01:00 stdout F a", Fragment{Stream: "stdout", Text: "a"}, true},
		"more marks":           {start + "stdout P:x a", Fragment{Stream: "stdout", Text: "a", Partial: true}, true},
		"no mark":              {start + "stdout a", Fragment{}, false},
		"no stream":            {start + "F a", Fragment{}, false},
		"no time":              {"stdout F a", Fragment{}, false},
		"nothing":              {"", Fragment{}, false},
	} {
		t.Run(name, func(t *testing.T) { compareFragment(t, ParseCRI, test.record, test.want, test.ok) })
	}
}

func compareFragment(t *testing.T, parse func(string) (Fragment, bool), record string, want Fragment, ok bool) {
	t.Helper()
	got, is := parse(record)
	if ok && !got.Time.Equal(fragmentTime) {
		t.Errorf("the time is %s", got.Time)
	}
	got.Time = time.Time{}
	if got != want || is != ok {
		t.Errorf("got %+v %t, want %+v %t", got, is, want, ok)
	}
}

func TestDockerTag(t *testing.T) {
	for record, want := range map[string]string{
		`{"log":"a\n","stream":"stderr","attrs":{"other":"x","tag":"caravan/orders/1"},"time":"2026-11-27T09:00:01Z"}`: "caravan/orders/1",
		`{"log":"{\"attrs\":{\"tag\":\"x\"}}\n","stream":"stderr","time":"2026-11-27T09:00:01Z"}`:                      "",
		`{"attrs":"tag"}`: "",
		"":                "",
	} {
		if got := DockerTag(record); got != want {
			t.Errorf("the tag of %s is %q, want %q", record, got, want)
		}
	}
}

// FuzzParseDocker checks that every text that Docker writes is read as it was, and that other records do no harm.
func FuzzParseDocker(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ParseDocker(text)
		DockerTag(text)
		record, err := json.Marshal(map[string]string{"log": text, "stream": "stderr", "time": "2026-11-27T09:00:01.123456789Z"})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := ParseDocker(string(record))
		if got.Partial == (len(text) > 0 && text[len(text)-1] == '\n') {
			t.Fatalf("%q is partial: %t", text, got.Partial)
		}
		if !got.Partial {
			got.Text += "\n"
		}
		if !ok || utf8.ValidString(text) && got.Text != text || got.Stream != "stderr" || !got.Time.Equal(fragmentTime) {
			t.Fatalf("%q is read as %+v, %t", text, got, ok)
		}
	})
}

// FuzzParseCRI checks that every text is read as it was, and that other records do no harm.
func FuzzParseCRI(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, partial bool) {
		ParseCRI(text)
		mark := "F"
		if partial {
			mark = "P"
		}
		got, ok := ParseCRI("2026-11-27T09:00:01.123456789Z stdout " + mark + " " + text)
		if !ok || got.Text != text || got.Partial != partial || got.Stream != "stdout" || !got.Time.Equal(fragmentTime) {
			t.Fatalf("%q is read as %+v, %t", text, got, ok)
		}
	})
}
