package mail

import (
	"strings"
	"testing"
)

// TestASubjectIsShownLiterally has subjects that look like encoded words. Readers decode the header once.
func TestASubjectIsShownLiterally(t *testing.T) {
	server := serve(t, nil)
	b := server.binding(t, nil)
	const word = "=?utf-8?q?=0D=0ABcc=3A_thief=40example.com?="
	for _, subject := range []string{
		word, word + " now costs 15.00 EUR", "A " + word + " " + word, "(" + word + ")", "Größe " + word, "=?utf-8?b?PGI+?=", "=?", "a =? b ?= c",
		strings.Repeat("ä", 60) + word, strings.Repeat("日本", 30) + "=?x?q?y?=", strings.Repeat("=?utf-8?q?x?= ", 40) + "end", "no word", "Größe",
	} {
		before := len(server.got())
		if refused, err := invoke(t.Context(), b, request("<p>x</p>", map[string]string{"subject": subject})); refused != "" || err != nil {
			t.Fatalf("%q: %q, %v", subject, refused, err)
		}
		raw := server.got()[before].raw
		m := parse(t, raw)
		if got := m.subject(t); got != subject {
			t.Errorf("%q is shown as %q", subject, got)
		}
		if m.Header["Bcc"] != nil || len(m.Header["Subject"]) != 1 {
			t.Errorf("%q: the headers are %v", subject, m.Header)
		}
		head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			if strings.Contains(line, "=?UTF-8?B?") && len(line) > 76 {
				t.Errorf("%q: a line has %d bytes: %s", subject, len(line), line)
			}
		}
	}
}
