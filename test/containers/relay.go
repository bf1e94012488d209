package containers

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"caravan/test/reach"
)

// Relay listens on a port of 127.0.0.1 until the context ends, and passes each connection on to a port of a process. The
// process may have another address in its next life.
func (p *Project) Relay(ctx context.Context, name string, port int) (int, error) {
	address, _, err := reach.Relay(ctx, func(ctx context.Context) (net.Conn, error) {
		all, err := p.Containers(ctx)
		if err != nil {
			return nil, err
		}
		for _, k := range all {
			if k.Name() == name {
				return new(net.Dialer).DialContext(ctx, "tcp", k.Address(strconv.Itoa(port)))
			}
		}
		return nil, fmt.Errorf("project %s has no container %s", p.Name, name)
	})
	if err != nil {
		return 0, fmt.Errorf("relaying to %s: %w", name, err)
	}
	return address.Port, nil
}
