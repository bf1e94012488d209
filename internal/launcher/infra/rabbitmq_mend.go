package infra

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"caravan/internal/launcher/process"
)

// electMissing is Erlang that a node evaluates: it has every quorum queue without a leader elect one, and
// returns the names of those queues.
//
// A node of 3.10.8 that is killed within seconds of a queue's declaration may come back with fewer registered
// Raft members than queues, and the queue that lacked its own never elects a leader. Nobody can publish to it,
// declare it or consume it, and starting the node again, even in order, changes nothing; an election that is
// asked for takes at once (docs/adr/0008-mending.md).
const electMissing = `[begin ra:trigger_election(amqqueue:get_pid(Q)), element(4, amqqueue:get_name(Q)) end || ` +
	`Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue, ` +
	`element(1, ra:members(amqqueue:get_pid(Q), 2000)) =/= ok].`

// electTimeout is for one evaluation: the start of an Erlang machine, and 2 s for each queue in trouble.
const electTimeout = 30 * time.Second

// elect has the queues of a running node elect the leaders that they lack, and names those queues.
func (n *rabbitNode) elect(ctx context.Context, node process.Spec) (leaderless []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, electTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(filepath.Dir(node.Path), "rabbitmqctl"), "--quiet", "eval", electMissing)
	command.Env, command.Dir = node.Env, node.Dir // which name the node and its port mapper
	command.WaitDelay = time.Second
	output, err := command.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("asking the broker for the leaders of its queues: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return namesIn(string(output)), nil
}

var binary = regexp.MustCompile(`<<"([^"]*)">>`)

// namesIn reads a list of Erlang binaries, as [<<"a">>,<<"b">>].
func namesIn(term string) []string {
	var names []string
	for _, match := range binary.FindAllStringSubmatch(term, -1) {
		names = append(names, match[1])
	}
	return names
}
