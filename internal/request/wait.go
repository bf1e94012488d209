package request

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"caravan/internal/problem"
)

// Hold is how long a request asks to have its answer held back.
type Hold struct {
	For time.Duration
	// preferred is set if For is a preference, which the answer has to confirm.
	preferred bool
}

// HoldOf reads the query parameter wait, a duration up to most. Without it, it reads the preference wait of RFC 7240
// ("Prefer: wait=5"), of which a longer one counts as most. The error is a problem.Invalid that names the parameter.
func HoldOf(r *http.Request, most time.Duration) (Hold, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		preferred, ok := PreferredWait(r.Header, most)
		return Hold{For: preferred, preferred: ok}, nil
	}
	wait, ok := Duration(text)
	if !ok || wait > most {
		return Hold{}, problem.Invalid(problem.FieldError{Field: "wait", Code: "duration", Message: "must be a duration from 0s to " + most.String()})
	}
	return Hold{For: wait}, nil
}

// Confirm adds to an answer that the preference was followed, if For is one.
func (h Hold) Confirm(a Answer) Answer {
	if !h.preferred {
		return a
	}
	return a.With("Preference-Applied", "wait="+strconv.Itoa(int(h.For/time.Second)))
}

// preference is one element of a Prefer header: all up to a comma that is not in a quoted string.
var preference = regexp.MustCompile(`(?:[^",]|"(?:[^"\\]|\\.)*"?)+`)

// PreferredWait returns the preference wait of RFC 7240, at most the given time, and whether there is one. The first one
// counts. One that cannot be read is ignored, as the RFC demands.
func PreferredWait(header http.Header, most time.Duration) (time.Duration, bool) {
	for _, line := range header["Prefer"] {
		for _, element := range preference.FindAllString(line, -1) {
			element, _, _ = strings.Cut(element, ";") // what follows are parameters, of which wait has none
			name, value, _ := strings.Cut(element, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				return 0, false
			}
			return min(time.Duration(seconds)*time.Second, most), true
		}
	}
	return 0, false
}
