package request

import (
	"errors"
	"slices"
	"testing"

	"caravan/internal/problem"
)

// span has a rule about two fields together.
type span struct {
	From int    `json:"from" validate:"min=1"`
	To   int    `json:"to"`
	Note string `json:"note" validate:"max=3"`
}

func (s *span) Check() (faults []problem.FieldError) {
	if s.From < 1 {
		faults = append(faults, problem.FieldError{Field: "from", Code: "check"})
	}
	if s.To <= s.From {
		faults = append(faults, problem.FieldError{Field: "to", Code: "order"})
	}
	return faults
}

// One answer has all faults of a body: of its members, of the tags and of Check, one for each field.
func TestCheckIsReportedWithTheTags(t *testing.T) {
	for body, want := range map[string][]string{
		`{"from":1,"to":2,"note":""}`:     nil,
		`{"from":1,"to":1,"note":"long"}`: {"note max", "to order"},
		`{"from":0,"to":0,"note":"long"}`: {"from min", "note max", "to order"},
		`{"note":"long"}`:                 {"from required", "to required", "note max"},
	} {
		var got []string
		var p *problem.Problem
		if err := Parse([]byte(body), &span{}); errors.As(err, &p) {
			for _, e := range p.Errors {
				got = append(got, e.Field+" "+e.Code)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has the faults %q; want %q", body, got, want)
		}
	}
}
