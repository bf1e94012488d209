package launcher

import (
	"errors"
	"fmt"
	"strings"

	"caravan/dapr/launcher/process"
)

// PortsError says which ports of a stack are not available. There are many if another stack runs with the same run
// file.
type PortsError struct {
	Problems []error
	Ports    int  // how many the stack needs
	Chosen   bool // only the port in Options.Port is meant
}

// Error is short, even for many ports, and says what to do.
func (e *PortsError) Error() string {
	if e.Chosen {
		return e.Problems[0].Error() + "; choose another with --port"
	}
	const most = 3
	advice := "Stop what uses them, or start this stack beside it on free ports: --free-ports"
	if len(e.Problems) > most {
		return fmt.Sprintf("%d of the %d ports in dapr/dapr.yaml cannot be used: %v, and %d more. Does another stack run?\n%s (and --dir FOLDER)",
			len(e.Problems), e.Ports, e.Problems[0], len(e.Problems)-1, advice)
	}
	var lines []string
	for _, problem := range e.Problems {
		lines = append(lines, problem.Error())
	}
	return strings.Join(append(lines, advice), "\n")
}

// Unwrap returns the error of each port.
func (e *PortsError) Unwrap() []error { return e.Problems }

// choosePorts takes free ports, or checks that the run file's are free.
func (s *Stack) choosePorts() error {
	if err := s.choosePort(); err != nil {
		return err
	}
	for _, a := range s.plan.Apps {
		for i, port := range a.ports() {
			if !s.options.FreePorts || s.options.Port != 0 && a.ID == gatewayApp && i == 0 {
				continue
			}
			free, err := s.ports.Take()
			if err != nil {
				return err
			}
			*port = free
		}
	}
	if s.options.FreePorts {
		return nil
	}
	return s.plan.checkPorts()
}

// gatewayApp is the app whose port the user may choose.
const gatewayApp = "gateway"

// choosePort gives the gateway the port of Options.Port.
func (s *Stack) choosePort() error {
	port := s.options.Port
	if port == 0 {
		return nil
	}
	for _, a := range s.plan.Apps {
		for i, other := range a.ports() {
			switch {
			case a.ID == gatewayApp && i == 0:
				*other = port
			case *other == port && !s.options.FreePorts:
				return &PortsError{Chosen: true, Problems: []error{fmt.Errorf("port %d, wanted for the gateway, is that of %s in dapr/dapr.yaml", port, purposeOf(a, i))}}
			}
		}
	}
	if err := process.CheckPort(port, gatewayApp); err != nil {
		return &PortsError{Chosen: true, Problems: []error{err}}
	}
	ours, err := s.ports.Reserve(port)
	if err == nil && !ours {
		err = &PortsError{Chosen: true, Problems: []error{fmt.Errorf("port %d, wanted for the gateway, is about to be used by another stack", port)}}
	}
	return err
}

// checkPorts returns a *PortsError when ports of the run file cannot be used.
func (p *plan) checkPorts() error {
	failed := &PortsError{}
	for _, a := range p.Apps {
		for i, port := range a.ports() {
			failed.Ports++
			if err := process.CheckPort(*port, purposeOf(a, i)); err != nil {
				failed.Problems = append(failed.Problems, err)
			}
		}
	}
	if len(failed.Problems) == 0 {
		return nil
	}
	return failed
}

// purposeOf returns the name of the process that listens on an app's port.
func purposeOf(a *app, index int) string {
	if index == 0 {
		return a.ID
	}
	return a.ID + "-daprd"
}

// checkPort refuses a number that is not a port.
func checkPort(port int) error {
	if port < 0 || port > 65535 {
		return errors.New("the gateway's port has to be from 1 to 65535")
	}
	return nil
}
