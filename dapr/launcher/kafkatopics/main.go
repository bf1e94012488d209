// Command kafkatopics creates the missing topics of a stack on a running Kafka cluster. Many clusters do not create
// topics automatically, and a consumer that joins before its topic exists waits until its next check. The cluster's
// defaults decide how many partitions and replicas a topic has. Existing topics stay as they are.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	brokers := flag.String("brokers", "", "addresses of the cluster, separated by commas")
	topics := flag.String("topics", "", "topics to have, separated by commas")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	made, err := ensure(ctx, strings.Split(*brokers, ","), strings.FieldsFunc(*topics, func(r rune) bool { return r == ',' }))
	if err != nil {
		fmt.Fprintln(os.Stderr, "kafkatopics:", err)
		os.Exit(1)
	}
	if len(made) > 0 {
		fmt.Println(strings.Join(made, ","))
	}
}

// ensure creates the missing topics, and returns them.
func ensure(ctx context.Context, brokers, topics []string) (made []string, err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	defer client.Close()
	missing, err := missing(ctx, client, topics)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis = 20000
	for _, topic := range missing {
		one := kmsg.NewCreateTopicsRequestTopic()
		one.Topic, one.NumPartitions, one.ReplicationFactor = topic, -1, -1
		request.Topics = append(request.Topics, one)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("making topics: %w", err)
	}
	for _, topic := range response.Topics {
		// Another stack may have created it meanwhile.
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return nil, fmt.Errorf("making topic %s: %w", topic.Topic, err)
		}
		made = append(made, topic.Topic)
	}
	return made, nil
}

// missing are the topics the cluster does not have.
func missing(ctx context.Context, client *kgo.Client, topics []string) ([]string, error) {
	request := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = kmsg.StringPtr(topic)
		request.Topics = append(request.Topics, one)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("asking for topics: %w", err)
	}
	missing := slices.Clone(topics)
	for _, topic := range response.Topics {
		if topic.Topic != nil && topic.ErrorCode != kerr.UnknownTopicOrPartition.Code {
			missing = slices.DeleteFunc(missing, func(name string) bool { return name == *topic.Topic })
		}
	}
	return missing, nil
}
