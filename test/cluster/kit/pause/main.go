// Command pause holds a pod's namespaces until it is told to stop. With addresses it tries to connect to each and says
// whether it did, as "HOST:PORT open" or "HOST:PORT closed".
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	if addresses := os.Args[1:]; len(addresses) > 0 {
		connect(addresses)
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}

func connect(addresses []string) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, address := range addresses {
		all.Go(func() {
			state := "closed"
			if connection, err := net.DialTimeout("tcp", address, 3*time.Second); err == nil {
				_ = connection.Close()
				state = "open"
			}
			fmt.Println(address, state)
		})
	}
}
