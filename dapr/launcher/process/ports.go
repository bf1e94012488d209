package process

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Free ports come from this range. It is above the well-known ports and below the range that Linux uses for outgoing
// connections (32768 and up), so no such connection can take a port between its choice and its use.
const (
	firstFreePort = 20000
	lastFreePort  = 31999
)

// Ports hands out unused ports of 127.0.0.1. Until Release, a port is reserved against other launchers on the machine:
// for each port there is a locked file, and the kernel releases the lock when the process ends.
type Ports struct {
	dir string

	mu    sync.Mutex
	locks []*os.File
}

// NewPorts returns an empty set of reservations.
func NewPorts() *Ports {
	return &Ports{dir: filepath.Join(os.TempDir(), fmt.Sprintf("caravan-ports-%d", os.Getuid()))}
}

// Take reserves a free port.
func (p *Ports) Take() (int, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return 0, fmt.Errorf("reserving a port: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	size := lastFreePort - firstFreePort + 1
	start := rand.IntN(size)
	for i := range size {
		port := firstFreePort + (start+i)%size
		lock, err := p.lock(port)
		if err != nil {
			continue
		}
		if !listenable(port) {
			_ = lock.Close()
			continue
		}
		p.locks = append(p.locks, lock)
		return port, nil
	}
	return 0, fmt.Errorf("no port between %d and %d is free", firstFreePort, lastFreePort)
}

// Reserve reserves a port that the user chose, so that no Take here or in another launcher returns it. It returns false
// when another launcher has it.
func (p *Ports) Reserve(port int) (bool, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return false, fmt.Errorf("reserving a port: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	lock, err := p.lock(port)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reserving a port: %w", err)
	}
	p.locks = append(p.locks, lock)
	return true, nil
}

func (p *Ports) lock(port int) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(p.dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// Release gives every reserved port back.
func (p *Ports) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, lock := range p.locks {
		_ = lock.Close()
	}
	p.locks = nil
}

func listenable(port int) bool { return listen(port) == nil }

func listen(port int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return listener.Close()
}

// PortInUseError says that a port of the stack is taken, and by whom.
type PortInUseError struct {
	Port    int
	Purpose string // what the stack wanted it for, as "orders"
	PID     int    // 0 when the holder is not visible to this user
	Command string // the holder's command line
}

// Error is one line of a list for a person.
func (e *PortInUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("port %d, wanted for %s, is in use by a process of another user", e.Port, e.Purpose)
	}
	return fmt.Sprintf("port %d, wanted for %s, is in use by pid %d (%s)", e.Port, e.Purpose, e.PID, e.Command)
}

// CheckPort returns a *PortInUseError when another process listens on the port of 127.0.0.1, and another error when it
// cannot be used for another reason.
func CheckPort(port int, purpose string) error {
	err := listen(port)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d, wanted for %s, is only for root: choose one from 1024", port, purpose)
	case !errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d, wanted for %s: %w", port, purpose, err)
	}
	pid, command := portHolder(port)
	return &PortInUseError{Port: port, Purpose: purpose, PID: pid, Command: command}
}

// portHolder finds the process that listens on a port: /proc/net/tcp has the inode of the socket, and one of
// /proc/<pid>/fd links to it.
func portHolder(port int) (pid int, command string) {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listeningInodes(table, port, inodes)
	}
	if len(inodes) == 0 {
		return 0, ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, "socket:[") {
			continue
		}
		if inodes[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid, CommandLine(pid)
		}
	}
	return 0, ""
}

func listeningInodes(table string, port int, inodes map[string]bool) {
	const listen = "0A"
	file, err := os.Open(table)
	if err != nil {
		return
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 10 || fields[3] != listen {
			continue
		}
		_, hexPort, _ := strings.Cut(fields[1], ":")
		raw, err := hex.DecodeString(hexPort)
		if err != nil || len(raw) != 2 {
			continue
		}
		if int(raw[0])<<8|int(raw[1]) == port {
			inodes[fields[9]] = true
		}
	}
}

// CommandLine is the command line of a running process, or "" if it has ended.
func CommandLine(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || errors.Is(err, os.ErrNotExist) {
		return ""
	}
	line := strings.TrimSpace(strings.ReplaceAll(string(raw), "\x00", " "))
	const most = 120
	if len(line) > most {
		line = line[:most] + "…"
	}
	return line
}
