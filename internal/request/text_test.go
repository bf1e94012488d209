package request

import (
	"errors"
	"strings"
	"testing"

	"caravan/internal/problem"
)

type written struct {
	Name    string   `json:"name,omitempty" validate:"omitempty,name,max=5"`
	Reason  string   `json:"reason" validate:"required,line,max=5"`
	Note    *string  `json:"note,omitempty" validate:"omitempty,line,max=5"`
	Details string   `json:"details,omitempty" validate:"multiline"`
	SKUs    []string `json:"skus,omitempty" validate:"dive,sku"`
	Ref     string   `json:"ref,omitempty" validate:"omitempty,plainid"`
}

// A tag of a field cleans its text before the other rules of the field are applied.
func TestTextIsCleanedByATag(t *testing.T) {
	var got written
	body := `{"reason":" cafe\u0301s\n","note":"\u00a0hi ","details":"a\r\nb\r","name":"A \u2003 B","skus":["TEA-1"],"ref":"a.b_c-1"}`
	if err := Parse([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Reason != "cafés" || *got.Note != "hi" || got.Details != "a\nb" || got.Name != "A B" {
		t.Errorf("%+v, note %+q", got, *got.Note)
	}
}

func TestTextThatBreaksItsRuleIsNamed(t *testing.T) {
	for body, want := range map[string]struct{ field, code, says string }{
		`{"reason":"a\u0000b"}`:                 {"reason", "text", "U+0000"},
		`{"reason":"a\u001bb"}`:                 {"reason", "text", "U+001B"},
		`{"reason":"a\nb"}`:                     {"reason", "text", "line breaks"},
		`{"reason":"  "}`:                       {"reason", "text", "visible"},
		`{"reason":"\u2800"}`:                   {"reason", "text", "visible"},
		`{"reason":""}`:                         {"reason", "required", ""},
		`{"reason":"123456"}`:                   {"reason", "max", "5 characters"},
		`{"reason":"x","note":"a\u202eb"}`:      {"note", "text", "U+202E"},
		`{"reason":"x","note":" "}`:             {"note", "text", "visible"},
		`{"reason":"x","details":"a\tb"}`:       {"details", "text", "U+0009"},
		`{"reason":"x","name":"\u200b"}`:        {"name", "text", "U+200B"},
		`{"reason":"x","skus":["OK-1","a||b"]}`: {"skus[1]", "sku", "capital letters"},
		`{"reason":"x","skus":["OK-1\u0000"]}`:  {"skus[0]", "sku", "capital letters"},
		`{"reason":"x","ref":"a||b"}`:           {"ref", "plainid", "an id"},
		`{"reason":"x","ref":"../b"}`:           {"ref", "plainid", "an id"},
	} {
		err := Parse([]byte(body), new(written))
		var p *problem.Problem
		if !errors.As(err, &p) || p.Status != 400 || len(p.Errors) != 1 {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if e := p.Errors[0]; e.Field != want.field || e.Code != want.code || !strings.Contains(e.Message, want.says) {
			t.Errorf("%s: %+v; want %+v", body, e, want)
		}
	}
}

// A value that cannot be changed has to be clean already.
func TestAValueIsValidatedWithoutBeingCleaned(t *testing.T) {
	if err := Validate(written{Reason: "fine"}); err != nil {
		t.Error(err)
	}
	var p *problem.Problem
	if err := Validate(written{Reason: " fine"}); !errors.As(err, &p) || p.Errors[0].Field != "reason" || p.Errors[0].Code != "text" {
		t.Error(err)
	}
}
