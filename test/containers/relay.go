package containers

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
)

// Relay listens on a port of 127.0.0.1 until the context ends, and passes each connection on to a port of a process. The
// process may have another address in its next life.
func (p *Project) Relay(ctx context.Context, name string, port int) (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("relaying to %s: %w", name, err)
	}
	go func() {
		<-ctx.Done()
		_ = listener.Close()
	}()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go p.relay(ctx, connection, name, port)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (p *Project) relay(ctx context.Context, from net.Conn, name string, port int) {
	defer from.Close()
	all, err := p.Containers(ctx)
	if err != nil {
		return
	}
	for _, k := range all {
		if k.Name() != name {
			continue
		}
		var dialer net.Dialer
		to, err := dialer.DialContext(ctx, "tcp", k.Address(strconv.Itoa(port)))
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { _, _ = from.Close(), to.Close() })
		defer stop()
		var both sync.WaitGroup
		for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
			both.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_, _ = way[0].Close(), way[1].Close()
			})
		}
		both.Wait()
	}
}
