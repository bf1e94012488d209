// Command embeddedbroker is the message broker of a stack on a machine that has
// none installed: one node that speaks Kafka's protocol and keeps its log on
// disk, synced before it answers. It is kfake of the franz-go project, which
// calls itself a fake for tests; it is no replacement for a Kafka cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// partitions of a topic.
const partitions = 4

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "embeddedbroker:", err)
		os.Exit(1)
	}
}

func run() error {
	port := flag.Int("port", 0, "port of 127.0.0.1 to listen on")
	data := flag.String("data", "", "folder that keeps topics and groups")
	topics := flag.String("topics", "", "topics to have from the start, separated by commas")
	flag.Parse()
	if *port == 0 || *data == "" || flag.NArg() != 0 {
		return errors.New("needs -port and -data, and nothing else")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(*port),
		kfake.ListenFn(listenLocally),
		kfake.ClusterID("caravan"),
		kfake.DataDir(*data),
		kfake.SyncWrites(),
		kfake.AllowAutoTopicCreation(),
		kfake.DefaultNumPartitions(partitions),
		// A topic that a client brings about is only written down when the broker
		// ends in order; after a crash it would be there anew, and empty.
		kfake.SeedTopics(partitions, strings.FieldsFunc(*topics, func(r rune) bool { return r == ',' })...),
		kfake.WithLogger(kfake.BasicLogger(os.Stdout, kfake.LogLevelWarn)),
	)
	if err != nil {
		return fmt.Errorf("starting on port %d: %w", *port, err)
	}
	fmt.Printf("serving %s\n", strings.Join(cluster.ListenAddrs(), ", "))
	<-ctx.Done()
	cluster.Close()
	return nil
}

// listenLocally keeps the broker off every interface but the loopback.
func listenLocally(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	if _, err := strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return net.Listen(network, net.JoinHostPort("127.0.0.1", port))
}
