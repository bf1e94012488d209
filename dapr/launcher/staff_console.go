package launcher

import (
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"caravan/dapr/launcher/process"
)

// consoleProcess is the name of the program that serves the page for staff, and of its process.
const consoleProcess = "console"

// ConsoleURL is the page for staff, "" if there is none.
func (s *Stack) ConsoleURL() string { return s.consoleURL }

// prepareConsole chooses the port of the page for staff.
func (s *Stack) prepareConsole() error {
	if !s.options.Console || s.GatewayURL() == "" {
		return nil
	}
	port, err := s.ports.Take()
	if err != nil {
		return err
	}
	s.consoleURL = "http://127.0.0.1:" + strconv.Itoa(port)
	return nil
}

// startConsole starts the page for staff, which needs no other process to be ready.
func (s *Stack) startConsole() error {
	if s.consoleURL == "" {
		return nil
	}
	p, err := s.add(s.consoleSpec())
	if err != nil {
		return err
	}
	p.Start()
	return nil
}

func (s *Stack) consoleSpec() process.Spec {
	args := []string{
		"-port", s.consoleURL[strings.LastIndexByte(s.consoleURL, ':')+1:], "-gateway", s.GatewayURL(), "-dir", s.dir,
	}
	if s.observed.store != "" {
		args = append(args, "-logs", s.observed.store)
	}
	return process.Spec{
		Name:  consoleProcess,
		URL:   s.consoleURL,
		Path:  filepath.Join(s.options.Bin, consoleProcess),
		Args:  args,
		Env:   append(s.baseEnv(), "GOMEMLIMIT=96MiB"),
		Dir:   s.dir,
		Ready: probe(s.consoleURL+"/healthz", http.StatusNoContent),
	}
}
