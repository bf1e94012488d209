package compose

import (
	"strings"
	"testing"

	"caravan/test/repository"
)

const root = "../.."

func TestEveryVariantStartsTheStackOfTheRunFile(t *testing.T) {
	for name, files := range variants {
		t.Run(name, func(t *testing.T) {
			project, err := load(root, files...)
			if err != nil {
				t.Fatal(err)
			}
			for _, violation := range violations(root, project) {
				t.Error(violation)
			}
		})
	}
}

func TestTheMissingSecretsNameTheCommand(t *testing.T) {
	for _, name := range []string{"compose.yaml", "redis.yaml", "replicas.yaml"} {
		for _, match := range required.FindAllStringSubmatch(read(t, root+"/compose/"+name), -1) {
			if match[2] != "first go run ./dapr secrets" {
				t.Errorf("%s: without %s Compose says %q", name, match[1], match[2])
			}
		}
	}
}

// TestPlantedFaultsAreFound makes one mistake at a time.
func TestPlantedFaultsAreFound(t *testing.T) {
	const file = "compose/compose.yaml"
	for name, fault := range map[string]struct {
		file, old, new string
		variant        []string
		want           string
	}{
		"a misspelt key of a service":    {file, "    networks: [orders]", "    network: [orders]", nil, "network"},
		"a misspelt key of a check":      {file, "  start_period: 90s", "  start_periode: 90s", nil, "start_periode"},
		"a misspelt key of an override":  {"compose/redis.yaml", "    mem_limit:", "    mem_limits:", []string{"redis.yaml"}, "mem_limits"},
		"a misspelt setting":             {"compose/components/rabbitmq/pubsub.yaml", "publisherConfirm", "publisherConfirms", nil, "not as in components/"},
		"no health check of a program":   {file, "      test: [CMD, /orders, --probe, readyz]", "      disable: true", nil, "orders: it has no health check"},
		"no health check of the store":   {file, "      test: [CMD, pg_isready, -q, -U, caravan, -d, caravan, -h, 127.0.0.1]", "      disable: true", nil, "store: it has no health check"},
		"no health check of an override": {"compose/redis.yaml", "      test: [CMD, redis-cli, ping]", "      disable: true", []string{"redis.yaml"}, "store: it has no health check"},
		"a sidecar's port published":     {file, "    networks: [orders, backbone]", "    networks: [orders, backbone]\n    ports: [\"127.0.0.1:3503:3503\"]", nil, "orders-daprd: it has published a port"},
		"a program's port published":     {file, "    networks: [orders]", "    networks: [orders]\n    ports: [\"127.0.0.1:7003:7003\"]", nil, "only the gateway publishes"},
		"the broker's port published":    {file, "    hostname: broker", "    hostname: broker\n    ports: [\"5672:5672\"]", nil, "broker: it has published a port"},
		"a second port of the gateway":   {file, `:8080"]`, `:8080", "9090:9090"]`, nil, "gateway: it publishes"},
		"the gateway for everybody":      {file, `"127.0.0.1:${CARAVAN_PORT`, `"${CARAVAN_PORT`, nil, "gateway: it publishes"},
		"a shared API token":             {file, "DAPR_API_TOKEN: ${ORDERS_API_TOKEN", "DAPR_API_TOKEN: ${USERS_API_TOKEN", nil, "orders: its DAPR_API_TOKEN is not its sidecar's"},
		"a token of two pairs":           {"compose/replicas.yaml", "", "", []string{"replicas.yaml"}, "orders: its DAPR_API_TOKEN is also a token of orders-2"},
		"a shared network":               {file, "    networks: [orders]", "    networks: [orders, payments]", nil, "orders: it is on the networks [orders payments]"},
		"a guest in a pair's network":    {file, "    networks: [users, backbone]", "    networks: [users, backbone, orders]", nil, "network orders has [orders orders-daprd users-daprd]"},
		"a program on the backbone":      {file, "    networks: [orders]", "    networks: [backbone]", nil, "network backbone has"},
		"a network with a way out":       {file, "  orders: {internal: true}", "  orders: {}", nil, "network orders is not internal"},
		"a wrong port of a program":      {file, `APP_PORT: "7003"`, `APP_PORT: "7004"`, nil, "orders: APP_PORT"},
		"a wrong port of a sidecar":      {file, "--dapr-http-port=3503\n", "--dapr-http-port=3504\n", nil, "orders: --dapr-http-port"},
		"a changed port of dapr.yaml":    {"dapr/dapr.yaml", "appPort: 7003", "appPort: 7103", nil, "orders: APP_PORT"},
		"a new app of dapr.yaml":         {"dapr/dapr.yaml", "  - appID: users", "  - appID: a-new-app\n    appPort: 7009\n  - appID: users", nil, "app a-new-app of dapr.yaml has no pair"},
		"a wrong app id":                 {file, "--app-id=orders", "--app-id=order", nil, `no app "order"`},
		"another's sidecar":              {file, "CARAVAN_DAPR_HOST: orders-daprd", "CARAVAN_DAPR_HOST: users-daprd", nil, "orders: CARAVAN_DAPR_HOST"},
		"a changed component":            {"components/rabbitmq/pubsub.yaml", "10s", "20s", nil, "not as in components/"},
		"a changed component of streams": {"components/rabbitmq/live.yaml", "10s", "20s", nil, "Component live is not as in components/"},
		"one of another broker":          {"compose/kafka.yaml", "  live: {file: ./components/kafka/live.yaml}\n", "", []string{"kafka.yaml"}, "notifications-daprd: its components are for the brokers [pubsub.kafka pubsub.rabbitmq]"},
		"streams of another app":         {"compose/components/rabbitmq/live.yaml", "[notifications]", "[notifications, orders]", nil, "Component live"},
		"no component of streams":        {file, "      - {source: live, target: /resources/live.yaml}\n", "", nil, "notifications-daprd: it lacks the Component live"},
		"no component of e-mails":        {file, "      - {source: email, target: /resources/email.yaml}\n", "", nil, "notifications-daprd: it lacks the Component email"},
		"e-mails of another app":         {"compose/components/email/smtp.yaml", "[notifications]", "[notifications, orders]", nil, "Component email"},
		"another sender":                 {"compose/components/email/smtp.yaml", "shop@", "store@", nil, "Component email is not as in components/"},
		"e-mails for everybody":          {file, "127.0.0.1:${CARAVAN_MAIL_PORT", "${CARAVAN_MAIL_PORT", nil, "mail: it publishes"},
		"no health check of the mails":   {file, "      test: [CMD, /mailbox, -probe, -page=8025]", "      disable: true", nil, "mail: it has no health check"},
		"no way to another mail server":  {"compose/smtp.yaml", "[notifications, backbone, edge]", "[notifications, backbone]", []string{"smtp.yaml"}, "notifications-daprd: it is on the networks"},
		"streams in another sidecar":     {file, "      - {source: orders-store, target: /resources/store.yaml}\n", "      - {source: orders-store, target: /resources/store.yaml}\n      - {source: live, target: /resources/live.yaml}\n", nil, "Component live is not for it"},
		"a component of others":          {"compose/sqlite.yaml", "components/sqlite/orders/store.yaml", "components/sqlite/users/store.yaml", []string{"sqlite.yaml"}, "Component store is not for it"},
		"a missing resource":             {file, "{source: resiliency-orders, target: /resources/resiliency-orders.yaml}", "{source: broker, target: /resources/again.yaml}", nil, "orders-daprd: it lacks the Resiliency orders"},
		"a resource of others":           {file, "{source: resiliency-orders, target: /resources/resiliency-orders.yaml}", "{source: resiliency, target: /resources/resiliency.yaml}", nil, "Resiliency services is not for it"},
		"a changed configuration":        {"dapr/config.yaml", `samplingRate: "1"`, `samplingRate: "0.5"`, nil, "differs from dapr/config.yaml"},
		"an image from a registry":       {file, "    pull_policy: never # but built if missing\n    build: {context: .., target: orders}\n", "", nil, "orders: it has an image of ours that may come from a registry"},
		"no memory limit":                {file, "  mem_limit: 256m\n", "", nil, "orders-daprd: it has no memory limit"},
		"capabilities":                   {file, "  cap_drop: [ALL]\n", "", nil, "it has capabilities"},
		"a log without bound":            {file, "      max-size: 10m\n", "", nil, "it has no bound on its log"},
		"a grace within the drain":       {file, "stop_grace_period: 35s", "stop_grace_period: 10s", nil, "orders: it has a shorter grace"},
		"a root that can be written":     {file, "  read_only: true\n", "", nil, "it has a root"},
		"a dependency without condition": {file, "    broker: {condition: service_healthy}", "    broker: {condition: service_started}", nil, "orders-daprd: it does not wait until broker is healthy"},
		"a key of one replica":           {"compose/push-replicas.yaml", "${PUSH_PRIVATE_KEY:?first go run ./dapr secrets}", "another", []string{"replicas.yaml", "push.yaml", "push-replicas.yaml"}, "its replicas have different CARAVAN_PUSH_PRIVATE_KEY"},
		"push of one replica":            {"compose/push.yaml", "Web Push", "Push", []string{"replicas.yaml", "push.yaml"}, "its replicas have different CARAVAN_PUSH_PRIVATE_KEY"},
		"a guest in a network of push":   {"compose/push-replicas.yaml", "push-2]", "push]", []string{"replicas.yaml", "push.yaml", "push-replicas.yaml"}, "notifications-2: it is on the networks"},
		"a log without a name":           {file, "/{{index .ContainerLabels \"com.docker.compose.service\"}}", "", nil, "it has no name in its log"},
		"spans without a collector":      {file, "GOMEMLIMIT: 100MiB", "GOMEMLIMIT: 100MiB\n  OTEL_EXPORTER_OTLP_ENDPOINT: http://collector:4318", nil, "orders: its spans go to"},
		"spans of another":               {"compose/observe.yaml", "OTEL_SERVICE_NAME: orders-daprd", "OTEL_SERVICE_NAME: orders", []string{"observe.yaml"}, "orders-daprd: its spans go to"},
		"no spans of a replica":          {"compose/observe-replicas.yaml", "OTEL_EXPORTER_OTLP_ENDPOINT: http://collector:4318", "OTEL_OTHER: x", []string{"replicas.yaml", "observe.yaml", "observe-replicas.yaml"}, "orders-2: its spans go to"},
		"a replica without collector":    {"compose/observe-replicas.yaml", ", orders-2, ", ", ", []string{"replicas.yaml", "observe.yaml", "observe-replicas.yaml"}, "network orders-2 has [orders-2 orders-2-daprd], not [collector"},
		"a collector that may write":     {"compose/observe.yaml", "target: /containers, read_only: true", "target: /containers", []string{"observe.yaml"}, "collector: it may write to"},
		"a collector's port published":   {"compose/observe.yaml", "    networks: [logs, backbone", "    ports: [\"4318:4318\"]\n    networks: [logs, backbone", []string{"observe.yaml"}, "collector: it has published a port"},
		"the log store for everybody":    {"compose/observe.yaml", "127.0.0.1:${CARAVAN_LOGS_PORT", "${CARAVAN_LOGS_PORT", []string{"observe.yaml"}, "logstore: it publishes"},
		"a log store without bound":      {"compose/observe.yaml", "      - -retention.maxDiskSpaceUsageBytes=1GiB\n", "", []string{"observe.yaml"}, "logstore: it lacks -retention.maxDiskSpaceUsageBytes=1GiB"},
		"a guest of the log store":       {"compose/observe.yaml", "networks: [logs, backbone", "networks: [logs, logs-page, backbone", []string{"observe.yaml"}, "network logs-page has"},
		"a replica that nobody finds":    {"compose/replicas.yaml", "aliases: [orders-daprd]", "aliases: [order-daprd]", []string{"replicas.yaml"}, "orders-2-daprd: the name resolution does not find it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copied := repository.Root(root).Copy(t, "compose", "components", "dapr")
			if fault.old != "" {
				copied.Replace(t, fault.file, fault.old, fault.new)
			} else { // for the program and its sidecar, so that they still agree
				for range 2 {
					copied.Replace(t, fault.file, "DAPR_API_TOKEN: ${ORDERS_2_API_TOKEN", "DAPR_API_TOKEN: ${ORDERS_API_TOKEN")
				}
			}
			project, err := load(copied, fault.variant...)
			found := []string{}
			if err != nil {
				found = append(found, err.Error())
			} else {
				found = violations(copied, project)
			}
			if !strings.Contains(strings.Join(found, "\n"), fault.want) {
				t.Errorf("it was not found; reported was:\n%s", strings.Join(found, "\n"))
			}
		})
	}
}
