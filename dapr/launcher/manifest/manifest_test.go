package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const root = "../../.."

// apps are those of dapr/dapr.yaml.
var apps = func() []string {
	raw, err := os.ReadFile(filepath.Join(root, "dapr", "dapr.yaml"))
	var file struct {
		Apps []struct {
			ID string `yaml:"appID"`
		}
	}
	if err := errors.Join(err, yaml.Unmarshal(raw, &file)); err != nil {
		panic(err)
	}
	var ids []string
	for _, a := range file.Apps {
		ids = append(ids, a.ID)
	}
	return ids
}()

// repositoryFiles are all Dapr resource files of the repository for one machine, which the launcher renders or the
// stock CLI reads.
func repositoryFiles(t *testing.T) []string {
	t.Helper()
	files := []string{filepath.Join(root, "dapr", "config.yaml")}
	for _, folder := range []string{"components", "dapr/resources"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".yaml") && entry.Name() != kustomization {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 12 {
		t.Fatalf("found only %v", files)
	}
	return files
}

func readAll(t *testing.T) []Document {
	t.Helper()
	var documents []Document
	for _, file := range repositoryFiles(t) {
		read, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, read...)
	}
	return documents
}

func TestRepositoryResourcesLoseNothing(t *testing.T) {
	for _, violation := range Check(readAll(t), apps) {
		t.Error(violation)
	}
}

// planted is a change to one repository file, and what the checker must report.
type planted struct {
	name, file, old, new, want string
}

func TestCheckerFindsPlantedViolations(t *testing.T) {
	for _, p := range []planted{
		{"misspelt broker setting", "components/rabbitmq/pubsub.yaml", "reconnectWaitSeconds", "reconnectWait", `does not read "reconnectWait"; did you mean "reconnectWaitSeconds"?`},
		{"queues that vanish", "components/rabbitmq/pubsub.yaml", "name: deletedWhenUnused\n      value: \"false\"", "name: deletedWhenUnused\n      value: \"true\"", "deletedWhenUnused must be"},
		{"transient messages", "components/rabbitmq/pubsub.yaml", "name: deliveryMode\n      value: \"2\"", "name: deliveryMode\n      value: \"1\"", "deliveryMode must be"},
		{"no confirms", "components/rabbitmq/pubsub.yaml", "    - name: publisherConfirm\n      value: \"true\"\n", "", "publisherConfirm must be"},
		{"failed messages dropped", "components/rabbitmq/pubsub.yaml", "    - name: requeueInFailure\n      value: \"true\"\n", "", "requeueInFailure must be"},
		{"acknowledged unread", "components/rabbitmq/pubsub.yaml", "name: autoAck\n      value: \"false\"", "name: autoAck\n      value: \"true\"", "autoAck must be"},
		{"unbounded prefetch", "components/rabbitmq/pubsub.yaml", "name: prefetchCount\n      value: \"32\"", "name: prefetchCount\n      value: \"0\"", "prefetchCount must be set"},
		{"setting given twice", "components/rabbitmq/pubsub.yaml", "name: heartBeat", "name: autoAck", "set twice"},
		{"events skipped", "components/kafka/pubsub.yaml", "oldest", "newest", "initialOffset must be"},
		{"deliveries skipped", "components/kafka/pubsub.yaml", "name: consumeRetryEnabled\n      value: \"true\"", "name: consumeRetryEnabled\n      value: \"false\"", "consumeRetryEnabled must not be"},
		{"redelivery off", "components/redis-streams/pubsub.yaml", `"5000"`, `"0"`, "redeliverInterval must be a number"},
		{"redelivery with a unit", "components/redis-streams/pubsub.yaml", `"5000"`, "5s", "ignores anything else"},
		{"given up too soon", "components/redis-streams/pubsub.yaml", "name: processingTimeout\n      value: 60s", "name: processingTimeout\n      value: 5s", "is delivered twice"},
		{"a group for all", "components/redis-streams/pubsub.yaml", `"{appID}"`, "caravan", "no two apps do"},
		{"a stream without bound", "components/redis-streams/pubsub.yaml", `"100000"`, `"0"`, "acknowledging deletes nothing"},
		{"a stream with a clock", "components/redis-streams/pubsub.yaml", "name: maxLenApprox", "name: streamTTL", "streamTTL must not be"},
		{"reading for ever", "components/redis-streams/pubsub.yaml", "    - name: readTimeout\n      value: 60s\n", "", "from a connection that is dead"},
		{"reading without a pause", "components/redis-streams/pubsub.yaml", "250ms", "8ms", "reads again at once"},
		{"queues that vanish, by our own setting", "components/rabbitmq/pubsub.yaml", "name: reconnectWaitSeconds", "name: transientQueues", "transientQueues must not be set"},
		{"misspelt setting of live", "components/rabbitmq/live.yaml", "name: transientQueues", "name: transientQueue", `does not read "transientQueue"; did you mean "transientQueues"?`},
		{"live without queues that end", "components/rabbitmq/live.yaml", "    - name: transientQueues\n      value: \"true\"\n", "", "transientQueues must be"},
		{"live with other exchanges", "components/rabbitmq/live.yaml", "name: durable\n      value: \"true\"", "name: durable\n      value: \"false\"", "it describes the exchanges too"},
		{"live without a bound", "components/rabbitmq/live.yaml", `"10000"`, `"0"`, "would grow without end"},
		{"live with queues for all replicas", "components/rabbitmq/live.yaml", `"{uuid}"`, `"{appID}"`, "each replica has queues of its own"},
		{"live for another app", "components/rabbitmq/live.yaml", "scopes: [notifications]", "scopes: [notifications, orders]", "would get every event for nothing"},
		{"live with a group for all replicas", "components/kafka/live.yaml", `"{uuid}"`, `"{appID}"`, "each replica has a group of its own"},
		{"groups that end, by our own setting", "components/kafka/pubsub.yaml", "name: consumeRetryInterval\n      value: 200ms", "name: transientGroups\n      value: \"true\"", "transientGroups must not be set"},
		{"live that reads what it missed", "components/kafka/live.yaml", "    - name: transientGroups\n      value: \"true\"\n", "", "transientGroups must be"},
		{"live that begins with old events", "components/kafka/live.yaml", "newest", "oldest", "initialOffset must be"},
		{"live that tries again", "components/kafka/live.yaml", "consumeRetryEnabled\n      value: \"false\"", "consumeRetryEnabled\n      value: \"true\"", "would hold up all others"},
		{"live that reads the whole stream", "components/redis-streams/pubsub.yaml", "name: pubsub", "name: live", "delivers no event to every replica from now on"},
		{"forgetful file", "components/sqlite/orders/store.yaml", "?_pragma=synchronous(FULL)", "", "must hold synchronous(FULL)"},
		{"no write-ahead log", "components/sqlite/orders/store.yaml", "name: disableWAL\n      value: \"false\"", "name: disableWAL\n      value: \"true\"", "disableWAL must not be"},
		{"old table layout", "components/postgres/store.yaml", "version: v2", "version: v1", "only v2"},
		{"client repeats writes", "components/redis/store.yaml", `"-1"`, `"3"`, "redisMaxRetries must be"},
		{"documents that expire", "components/redis/store.yaml", "name: redisMaxRetries", "name: ttlInSeconds", "ttlInSeconds must not be set"},
		{"sidecar runs without it", "components/redis/store.yaml", "  initTimeout: 120s", "  initTimeout: 120s\n  ignoreErrors: true", "ignoreErrors"},
		{"not a duration", "components/redis/store.yaml", "initTimeout: 120s", "initTimeout: soon", "no duration"},
		{"unknown app", "components/redis/store.yaml", "scopes: [users", "scopes: [usres", `scope "usres" is no app`},
		{"loaded by all", "components/redis/store.yaml", "scopes: [users, ", "# [", "has no scopes"},
		{"unknown type", "components/redis/store.yaml", "state.redis", "state.rediss", "none whose settings are known"},
		{"live entries deleted", "dapr/config.yaml", `cleanupInterval: "0"`, "cleanupInterval: 1h", "cleanupInterval must be"},
		{"unknown resolver setting", "dapr/config.yaml", "busyTimeout", "bussyTimeout", `did you mean "busyTimeout"?`},
		{"traces off", "dapr/config.yaml", `samplingRate: "1"`, `samplingRate: "0"`, "turns trace contexts off"},
		{"second document", "dapr/resources/resiliency.yaml", "apiVersion:", "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: x}\n---\napiVersion:", "daprd reads only the first"},
		{"callee left out", "dapr/resources/resiliency.yaml", "      orders: {timeout: call}\n", "", "does not list orders"},
		{"policy not defined", "dapr/resources/resiliency.yaml", "users: {timeout: call}", "users: {timeout: cal}", `names timeout "cal"`},
		{"endless retry", "dapr/resources/resiliency.yaml", ", maxRetries: 6", "", "for ever"},
		{"no inbound retry", "dapr/resources/resiliency.yaml", "inbound: {retry: delivery}", "inbound: {}", "has no inbound retry"},
		{"refusals repeated", "dapr/resources/resiliency-orders.yaml", "none: {policy: constant, maxRetries: 0}", "none: {policy: constant, maxRetries: 2}", "or refusals are repeated too"},
		{"breaker in both directions", "dapr/resources/resiliency-orders.yaml", "inbound: {retry: delivery}", "inbound: {retry: delivery, circuitBreaker: step}", "both its directions"},
		{"built-in retries stay", "dapr/resources/resiliency-gateway.yaml", "notifications: {retry: none}", "notifications: {}", "built-in three retries stay"},
		{"caller left out", "dapr/resources/resiliency-gateway.yaml", "scopes: [gateway]", "scopes: [orders]", "is missing"},
		{"no dead letters", "dapr/resources/subscriptions.yaml", "  deadLetterTopic: notifications.dead\n", "", "would be gone"},
		{"classic queue", "dapr/resources/subscriptions.yaml", "    queueType: quorum", "    queueType: classic", "classic queue"},
		{"unread subscription setting", "dapr/resources/subscriptions.yaml", "    queueType:", "    queueKind:", `did you mean "queueType"?`},
		{"unreadable dead letters", "dapr/resources/subscriptions.yaml", `    rawPayload: "true"`, `    rawPayload: "false"`, "tried again for ever"},
		{"wrong route", "dapr/resources/subscriptions.yaml", "default: /events/users", "default: /events/user", `want "/events/users"`},
	} {
		t.Run(p.name, func(t *testing.T) {
			var all []string
			for _, violation := range Check(plant(t, p), apps) {
				all = append(all, violation.String())
			}
			if joined := strings.Join(all, "\n"); !strings.Contains(joined, p.want) {
				t.Errorf("want a violation with %q, got:\n%s", p.want, joined)
			}
		})
	}
}

// plant reads the repository's resources with one file changed.
func plant(t *testing.T, p planted) []Document {
	t.Helper()
	var documents []Document
	for _, file := range repositoryFiles(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, p.file) {
			if !strings.Contains(string(raw), p.old) {
				t.Fatalf("%s does not hold %q any more", p.file, p.old)
			}
			raw = []byte(strings.Replace(string(raw), p.old, p.new, 1))
		}
		read, err := Decode(file, raw)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, read...)
	}
	return documents
}

func TestUnknownKeysAreRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"component":     "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: x}\nspec: {type: state.redis, version: v1, metdata: []}\n",
		"item":          "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: x}\nspec: {type: state.redis, version: v1, metadata: [{name: a, valeu: b}]}\n",
		"subscription":  "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: x}\nspec: {pubsubname: pubsub, topic: t, deadletterTopic: d}\n",
		"resiliency":    "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: x}\nspec: {policies: {retry: {}}}\n",
		"configuration": "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: x}\nspec: {tracing: {samplingrate: \"1\"}}\n",
		"old version":   "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: x}\nspec: {}\n",
		"other kind":    "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n",
		"no name":       "apiVersion: dapr.io/v1alpha1\nkind: Component\nspec: {type: state.redis, version: v1, metadata: []}\n",
		"empty":         "",
	} {
		t.Run(name, func(t *testing.T) {
			if documents, err := Decode("x.yaml", []byte(raw)); err == nil {
				t.Errorf("accepted as %+v", documents)
			}
		})
	}
}

func TestWrittenResourcesReadBack(t *testing.T) {
	folder := t.TempDir()
	var documents []Document
	for _, d := range readAll(t) {
		if d.For("orders") && d.Component == nil {
			documents = append(documents, d)
		}
	}
	set, err := ReadSet(filepath.Join(root, "components", "sqlite"), "orders")
	if err != nil {
		t.Fatal(err)
	}
	set[0].Component.Set("connectionString", "file:/elsewhere.db")
	documents = append(documents, set...)
	if err := Write(folder, documents); err != nil {
		t.Fatal(err)
	}
	back, err := ReadFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(back) != len(documents) {
		t.Fatalf("wrote %d documents, read %d", len(documents), len(back))
	}
	for _, d := range back {
		if d.Component != nil {
			if value, _ := d.Component.Value("connectionString"); value != "file:/elsewhere.db" {
				t.Errorf("connectionString read back as %q", value)
			}
			if value, _ := d.Component.Value("busyTimeout"); value != "10s" {
				t.Errorf("busyTimeout read back as %q", value)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"up", "down", "status", "restart", "bench"}
	for name, want := range map[string]string{"staus": "status", "restrat": "restart", "benhc": "bench", "res": "restart", "xyzzy": "", "donw": "down"} {
		if got := Nearest(name, candidates); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, file := range []string{"components/rabbitmq/pubsub.yaml", "dapr/resources/subscriptions.yaml", "dapr/resources/resiliency-orders.yaml", "dapr/config.yaml"} {
		raw, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		documents, err := Decode("fuzz.yaml", raw)
		if err != nil {
			return
		}
		Check(documents, apps)
		for _, d := range documents {
			if _, err := yaml.Marshal(d.resource); err != nil {
				t.Errorf("%s cannot be written: %v", d.At(), err)
			}
		}
	})
}
