package infra

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"caravan/dapr/launcher/process"
)

// embeddedBroker is the program with Kafka's protocol that runs when KAFKA_BROKERS names no cluster.
const embeddedBroker = "embeddedbroker"

// topicMaker is the program that makes topics on a running cluster.
const topicMaker = "kafkatopics"

func makeTopics(ctx context.Context, place Place, brokers string) error {
	command := exec.CommandContext(ctx, place.Program(topicMaker), "-brokers", brokers, "-topics", strings.Join(place.Topics, ","))
	command.Env = place.environment()
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("making topics at KAFKA_BROKERS: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}

// kafka is the cluster at KAFKA_BROKERS, or the embedded broker: one node that keeps its log on disk, for development
// and tests.
func kafka(place Place) (Server, error) {
	server := Server{Kind: "kafka", Set: "kafka"}
	if brokers := place.Getenv("KAFKA_BROKERS"); brokers != "" {
		first, _, _ := strings.Cut(brokers, ",")
		server.URL = "kafka://" + first
		server.Settings = same(map[string]string{"brokers": brokers})
		server.Programs = []string{topicMaker}
		server.Prepare = func(ctx context.Context) error { return makeTopics(ctx, place, brokers) }
		return server, nil
	}
	port, err := place.Port()
	if err != nil {
		return Server{}, err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	data := filepath.Join(place.Dir, "data", "kafka")
	server.URL = "kafka://" + address
	server.Settings = same(map[string]string{"brokers": address})
	server.Prepare = func(context.Context) error { return folders(data) }
	server.Programs = []string{embeddedBroker}
	server.Processes = []process.Spec{{
		Name:  "broker",
		URL:   server.URL,
		Path:  place.Program(embeddedBroker),
		Args:  []string{"-port", strconv.Itoa(port), "-data", data, "-topics", strings.Join(place.Topics, ",")},
		Env:   place.environment(),
		Dir:   place.Dir,
		Ready: func(ctx context.Context) error { return dial(ctx, port, nil) },
	}}
	server.Notice = fmt.Sprintf("KAFKA_BROKERS is not set: using the embedded broker, which speaks Kafka's protocol on one node (%s) and is meant for development", address)
	return server, nil
}
