package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestMissingTopicsAreMade(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(7, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	made, err := ensure(ctx, cluster.ListenAddrs(), []string{"orders", "users", "notifications.dead"})
	slices.Sort(made)
	if err != nil || !slices.Equal(made, []string{"notifications.dead", "users"}) {
		t.Fatalf("made %v, %v", made, err)
	}
	if made, err := ensure(ctx, cluster.ListenAddrs(), []string{"orders", "users"}); err != nil || len(made) != 0 {
		t.Errorf("made %v again, %v", made, err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if missing, err := missing(ctx, client, []string{"orders", "users", "notifications.dead", "nothing"}); err != nil || !slices.Equal(missing, []string{"nothing"}) {
		t.Errorf("missing are %v, %v", missing, err)
	}
	response, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range response.Topics {
		if *topic.Topic == "orders" && len(topic.Partitions) != 7 {
			t.Errorf("the topic that was there has %d partitions now", len(topic.Partitions))
		}
	}
}

func TestAClusterThatIsNotThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if made, err := ensure(ctx, []string{"127.0.0.1:1"}, []string{"orders"}); err == nil {
		t.Errorf("made %v where nothing is", made)
	}
}
