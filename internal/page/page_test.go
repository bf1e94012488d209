package page

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"caravan/internal/problem"
)

type position struct {
	Segment int64  `json:"s"`
	Key     string `json:"k,omitempty"`
}

func TestACursorLeadsBack(t *testing.T) {
	want := position{Segment: 1 << 60, Key: "ä/b"}
	var got position
	if err := Decode(Encode(want), &got); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	first := position{Segment: 7}
	if err := Decode("", &first); err != nil || first.Segment != 7 {
		t.Errorf("the empty cursor gave %+v, %v", first, err)
	}
}

func TestWhatIsNoCursorIsTheClientsMistake(t *testing.T) {
	raw := base64.RawURLEncoding.EncodeToString
	for name, s := range map[string]string{
		"other letters":  "%%%",
		"a line break":   "eyJz\nIjoxfQ",
		"padding":        base64.URLEncoding.EncodeToString([]byte(`{"s":10}`)),
		"loose bits":     strings.TrimRight(raw([]byte(`{"s":1}`)), "Q") + "R",
		"not JSON":       raw([]byte(`{"s":`)),
		"another list's": raw([]byte(`{"other":1}`)),
		"wrong type":     raw([]byte(`{"s":"x"}`)),
		"nothing":        raw([]byte(`{}`)),
		"null":           raw([]byte(`null`)),
		"null in it":     raw([]byte(`{"s":null}`)),
		"a space":        raw([]byte(`{"s":1 }`)),
		"two values":     raw([]byte(`{"s":1}{"s":2}`)),
		"twice the same": raw([]byte(`{"s":1,"s":2}`)),
		"too long":       strings.Repeat("A", MaxCursor+1),
	} {
		t.Run(name, func(t *testing.T) {
			var p position
			var refused *problem.Problem
			if err := Decode(s, &p); !errors.As(err, &refused) || refused.Status != 400 || refused.Errors[0].Field != "cursor" {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestAnEmptyPageHasAnEmptyList(t *testing.T) {
	data, err := json.Marshal(List[int]{Items: []int{}})
	if err != nil || string(data) != `{"items":[]}` {
		t.Errorf("it is %s, %v", data, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(position{Segment: 3, Key: "k"}))
	f.Add("")
	f.Add("e30")
	f.Fuzz(func(t *testing.T, s string) {
		var p position
		err := Decode(s, &p)
		var refused *problem.Problem
		if err != nil && !errors.As(err, &refused) {
			t.Errorf("%q is refused with %v", s, err)
		}
		if err == nil && len(s) > MaxCursor {
			t.Errorf("a cursor of %d bytes was read", len(s))
		}
	})
}
