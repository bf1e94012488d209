package launcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"caravan/dapr/launcher/process"
)

// User is somebody who can log in at the gateway.
type User struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	Role     string `json:"role"`
}

// Metadata is the information for programs outside the stack, the content of run/stack.json.
func (s *Stack) Metadata() Metadata {
	m := Metadata{
		Gateway: s.GatewayURL(),
		Mail:    s.MailURL(),
		Logs:    s.observed.store,
		Console: s.ConsoleURL(),
		Metrics: s.observed.metrics,
		Broker:  BrokerInfo{Kind: s.broker.Kind, URL: s.broker.URL},
		Store:   StoreInfo{Kind: s.store.Kind},
	}
	s.mu.Lock()
	m.Users = slices.Clone(s.users)
	s.mu.Unlock()
	for _, status := range s.Processes() {
		m.Processes = append(m.Processes, ProcessInfo{Name: status.Name, PID: status.PID, URL: status.URL})
	}
	return m
}

// Publish writes run/stack.json with the given users. It is written again whenever a process gets another pid.
func (s *Stack) Publish(users []User) error {
	s.mu.Lock()
	s.users, s.published = users, true
	s.mu.Unlock()
	return s.writeMetadata()
}

func (s *Stack) processChanged(status process.Status) {
	s.console.changed(status)
	s.mu.Lock()
	published := s.published
	s.mu.Unlock()
	if published {
		_ = s.writeMetadata() // the next change writes it again
	}
}

func (s *Stack) metadataFile() string { return filepath.Join(s.dir, "run", "stack.json") }

func (s *Stack) writeMetadata() error {
	raw, err := json.MarshalIndent(s.Metadata(), "", "  ")
	if err != nil {
		return fmt.Errorf("writing stack.json: %w", err)
	}
	partial, err := os.CreateTemp(filepath.Dir(s.metadataFile()), "stack-*.tmp") // created with mode 0600
	if err != nil {
		return fmt.Errorf("writing stack.json: %w", err)
	}
	_, err = partial.Write(append(raw, '\n'))
	if err := errors.Join(err, partial.Close()); err != nil {
		return fmt.Errorf("writing stack.json: %w", err)
	}
	if err := os.Rename(partial.Name(), s.metadataFile()); err != nil {
		return fmt.Errorf("writing stack.json: %w", err)
	}
	return nil
}

// Metadata is the content of run/stack.json.
type Metadata struct {
	Gateway   string        `json:"gateway"`
	Mail      string        `json:"mail"`              // the page of the private mail server; "" if there is none
	Logs      string        `json:"logs,omitempty"`    // the store of log lines and spans; "" if there is none
	Console   string        `json:"console,omitempty"` // the page for staff; "" if there is none
	Metrics   string        `json:"metrics,omitempty"` // the store of metrics; "" if there is none
	Broker    BrokerInfo    `json:"broker"`
	Store     StoreInfo     `json:"store"`
	Users     []User        `json:"users"`
	Processes []ProcessInfo `json:"processes"`
}

// BrokerInfo is the broker in use. Its URL contains credentials.
type BrokerInfo struct {
	Kind string `json:"kind"`
	URL  string `json:"url"`
}

// StoreInfo is the store in use.
type StoreInfo struct {
	Kind string `json:"kind"`
}

// ProcessInfo is a process of the stack.
type ProcessInfo struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	URL  string `json:"url"`
}

// ReadMetadata reads the stack.json of the stack that runs in a folder.
func ReadMetadata(dir string) (Metadata, error) {
	var m Metadata
	raw, err := os.ReadFile(filepath.Join(dir, "run", "stack.json"))
	if err != nil {
		return m, fmt.Errorf("reading stack.json: %w", err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("reading stack.json: %w", err)
	}
	return m, nil
}
