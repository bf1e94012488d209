package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
)

// TestThePasswordOfAMailServerIsNotShown: neither a refused nor an accepted value of --mail appears in a text, and the
// process that runs in the background does not get it as an argument.
func TestThePasswordOfAMailServerIsNotShown(t *testing.T) {
	const secret = "s3cret"
	for value, accepted := range map[string]bool{
		"smtp://caravan:" + secret + "@mail.example:587": true, "smtp://mail.example:25": true,
		"smtp://caravan:" + secret + "@mail.example": false, "http://caravan:" + secret + "@mail.example:25": false,
	} {
		var server string
		flags := flag.NewFlagSet("up", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.Var(mailServer{&server}, "mail", "")
		err := flags.Parse([]string{"--mail", value})
		if (err == nil) != accepted || accepted && server != value {
			t.Errorf("%s: %v, the server is %q", value, err, server)
		}
		if strings.Contains(flags.Lookup("mail").Value.String(), secret) {
			t.Error("the flag shows its value")
		}
		if err == nil {
			continue
		}
		explained := explainFlag(upCommand(), flags, err)
		var usage *usageError
		if !errors.As(explained, &usage) || strings.Contains(explained.Error(), secret) || !strings.Contains(explained.Error(), "smtp://[user:password@]host:port") {
			t.Errorf("%s: %v", value, explained)
		}
	}
	for _, args := range [][]string{
		{"up", "--mail", "smtp://u:s3cret@h:1", "--fresh"}, {"up", "--mail=smtp://u:s3cret@h:1", "--fresh"}, {"up", "-mail", "smtp://u:s3cret@h:1", "--fresh"}, {"up", "--fresh"},
	} {
		if got := strings.Join(withoutFlag(args, "mail"), " "); got != "up --fresh" {
			t.Errorf("%v became %s", args, got)
		}
	}
}
