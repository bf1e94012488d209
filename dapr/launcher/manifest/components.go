package manifest

import (
	"fmt"
	"strconv"
	"time"
)

// These are the settings that each component type reads, from the fields of its metadata struct in
// github.com/dapr/components-contrib v1.18.0. A component ignores any other setting without a message, and Dapr's
// documentation mentions some of those.
var knownSettings = map[string][]string{
	// pubsub/rabbitmq/metadata.go, struct rabbitmqMetadata; pubsub.TLSProperties.
	"pubsub.rabbitmq": {
		"consumerID", "connectionString", "protocol", "hostname", "username", "password", "durable", "enableDeadLetter",
		"deletedWhenUnused", "autoAck", "requeueInFailure", "deliveryMode", "prefetchCount", "reconnectWaitSeconds",
		"maxLen", "maxLenBytes", "exchangeKind", "clientName", "heartBeat", "publisherConfirm", "saslExternal",
		"concurrency", "ttlInSeconds", "publishMessagePropertiesToMetadata", "caCert", "clientCert", "clientKey",
		"transientQueues", // of our daprd alone: dapr/daprd/transient.go
	},
	// common/component/kafka/metadata.go, struct KafkaMetadata.
	"pubsub.kafka": {
		"brokers", "consumerGroup", "consumerID", "clientId", "authType", "saslUsername", "saslPassword", "saslMechanism",
		"initialOffset", "maxMessageBytes", "oidcTokenEndpoint", "oidcClientID", "oidcClientSecret", "oidcScopes",
		"oidcExtensions", "disableTls", "skipVerify", "caCert", "clientCert", "clientKey", "consumeRetryEnabled",
		"consumeRetryInterval", "heartbeatInterval", "sessionTimeout", "version", "escapeHeaders", "compression",
		"clientConnectionTopicMetadataRefreshInterval", "clientConnectionKeepAliveInterval",
		"consumerGroupRebalanceStrategy", "excludeHeaderMetaRegex",
		"transientGroups", // of our daprd alone: dapr/daprd/brokers.go
	},
	// state/sqlite/sqlite_metadata.go; common/authentication/sqlite/metadata.go.
	"state.sqlite": {
		"connectionString", "timeout", "busyTimeout", "disableWAL", "tableName", "metadataTableName", "cleanupInterval",
		"keyPrefix",
	},
	// state/postgresql/v2/metadata.go; common/authentication/postgresql/metadata.go.
	"state.postgresql": {
		"connectionString", "host", "hostaddr", "port", "database", "user", "password", "sslRootCert",
		"connectionMaxIdleTime", "maxConns", "queryExecMode", "tablePrefix", "metadataTableName", "timeout",
		"cleanupInterval", "keyPrefix",
	},
	// common/component/redis/settings.go, struct Settings, without mdonly:"pubsub".
	"state.redis": {
		"redisHost", "redisPort", "redisPassword", "redisUsername", "sentinelPassword", "sentinelUsername", "redisDB",
		"redisType", "redisMaxRetries", "redisMinRetryInterval", "redisMaxRetryInterval", "dialTimeout", "readTimeout",
		"writeTimeout", "poolSize", "minIdleConns", "maxConnAge", "poolTimeout", "idleTimeout", "idleCheckFrequency",
		"sentinelMasterName", "failover", "enableTLS", "insecureSkipTLSVerify", "clientCert", "clientKey",
		"ttlInSeconds", "queryIndexes", "keyPrefix",
	},
	// The same struct without mdonly:"state". ParseClientFromProperties in redis.go of that folder reads
	// redeliverInterval.
	"pubsub.redis": {
		"redisHost", "redisPort", "redisPassword", "redisUsername", "sentinelPassword", "sentinelUsername", "redisDB",
		"redisType", "redisMaxRetries", "redisMinRetryInterval", "redisMaxRetryInterval", "dialTimeout", "readTimeout",
		"writeTimeout", "poolSize", "minIdleConns", "maxConnAge", "poolTimeout", "idleTimeout", "idleCheckFrequency",
		"sentinelMasterName", "failover", "enableTLS", "insecureSkipTLSVerify", "clientCert", "clientKey", "consumerID",
		"redeliverInterval", "processingTimeout", "queueDepth", "concurrency", "maxLenApprox", "streamTTL",
	},
	// bindings/smtp/smtp.go, struct Metadata.
	"bindings.smtp": {
		"host", "port", "user", "password", "skipTLSVerify", "emailFrom", "emailTo", "emailCC", "emailBCC", "subject",
		"priority",
	},
	// secretstores/local/env and /file: struct Metadata and localSecretStoreMetaData.
	"secretstores.local.env":  {"prefix"},
	"secretstores.local.file": {"secretsFile", "nestedSeparator", "multiValued"},
	// nameresolution/sqlite/sqlite_metadata.go, struct sqliteMetadata.
	"nameresolution.sqlite": {
		"connectionString", "timeout", "busyTimeout", "disableWAL", "tableName", "metadataTableName", "updateInterval",
		"cleanupInterval",
	},
}

// rule is a requirement for one setting, because otherwise something is lost.
type rule struct {
	setting string
	accept  func(value string, set bool) bool
	reason  string
}

func must(setting, value, reason string) rule {
	return rule{setting, func(got string, set bool) bool { return set && got == value }, "must be \"" + value + "\": " + reason}
}

func mustBeSet(setting, reason string) rule {
	return rule{setting, func(got string, set bool) bool { return set && got != "" && got != "0" }, "must be set: " + reason}
}

func mustHold(setting, part, reason string) rule {
	return rule{setting, func(got string, set bool) bool { return set && contains(got, part) }, "must hold " + part + ": " + reason}
}

func mustNot(setting, value, reason string) rule {
	return rule{setting, func(got string, set bool) bool { return !set || got != value }, "must not be \"" + value + "\": " + reason}
}

func mustNotBeSet(setting, reason string) rule {
	return rule{setting, func(_ string, set bool) bool { return !set }, "must not be set: " + reason}
}

// mustBeNumber is for durations that the component reads only as a plain number of milliseconds. least is the minimum.
func mustBeNumber(setting string, least int, reason string) rule {
	return rule{setting, func(got string, _ bool) bool {
		n, err := strconv.Atoi(got)
		return err == nil && n >= least
	}, fmt.Sprintf("must be a number of at least %d without a unit: %s", least, reason)}
}

// mustLast is for durations with a minimum.
func mustLast(setting string, least time.Duration, reason string) rule {
	return rule{setting, func(got string, _ bool) bool {
		d, err := time.ParseDuration(got)
		return err == nil && d >= least
	}, fmt.Sprintf("must be at least %s: %s", least, reason)}
}

// live has, by component type, the rules for the component liveName. Each replica that loads it hears of every event, and it may
// lose events. pubsub.redis has none: its new group reads the stream from its oldest event on, and nothing deletes the group
// (pubsub/redis/redis.go, Subscribe).
var live = map[string][]rule{
	"pubsub.rabbitmq": {
		must("consumerID", "{uuid}", "each replica has queues of its own"),
		must("transientQueues", "true", "each sidecar would leave queues behind"),
		mustBeNumber("maxLen", 1, "a queue that a stock daprd leaves behind would grow without end"),
		must("durable", "true", "it describes the exchanges too, which pubsub.yaml makes"),
		must("deletedWhenUnused", "false", "it describes the exchanges too, which pubsub.yaml makes"),
	},
	"pubsub.kafka": {
		must("consumerID", "{uuid}", "each replica has a group of its own"),
		must("transientGroups", "true", "after a pause it would first read the events of the pause"),
		must("initialOffset", "newest", "old events are in the inbox"),
		must("consumeRetryEnabled", "false", "one event whose stream has ended would hold up all others"),
		mustBeSet("authType", "the component refuses to start without it"),
		mustBeSet("version", "the newest protocol is not what every broker speaks"),
	},
}

// lossless has, by component type, the settings whose default (or whose opposite) loses or reorders accepted messages
// or data. Each comes from the source of the component. reconnectWait, which is ignored, is found as an unknown key.
var lossless = map[string][]rule{
	"pubsub.rabbitmq": {
		must("durable", "true", "queues would not survive a restart of the broker"),
		must("deletedWhenUnused", "false", "the default deletes a queue with its last consumer"),
		must("deliveryMode", "2", "the default keeps messages in memory only"),
		must("publisherConfirm", "true", "the default answers before the broker has the message"),
		must("requeueInFailure", "true", "the default drops a message whose handler failed"),
		must("autoAck", "false", "a message would be gone before its handler ran"),
		mustBeSet("prefetchCount", "the default hands a consumer its whole backlog at once"),
		mustBeSet("reconnectWaitSeconds", "it says how soon a lost broker is sought again"),
		mustNot("enableDeadLetter", "true", "dead letters go to a topic Dapr reads, not to a queue nobody does"),
		mustNotBeSet("transientQueues", "a queue would vanish with its connection, and the replicas would not share it"),
	},
	"pubsub.kafka": {
		must("initialOffset", "oldest", "the default skips events published before a consumer first joined"),
		mustNot("consumeRetryEnabled", "false", "a failed delivery would be skipped"),
		mustNotBeSet("transientGroups", "what is published while nobody listens would be skipped"),
		mustBeSet("authType", "the component refuses to start without it"),
		mustBeSet("version", "the newest protocol is not what every broker speaks"),
	},
	"pubsub.redis": {
		must("consumerID", "{appID}", "the replicas of an app share one group, and no two apps do"),
		mustLast("processingTimeout", 30*time.Second, "what takes longer is delivered twice, and a delivery with its retries takes ten seconds"),
		mustBeNumber("redeliverInterval", 1, "the component reads milliseconds and ignores anything else, and 0 switches redelivery off"),
		mustBeSet("queueDepth", "it bounds what a sidecar holds"),
		mustBeSet("concurrency", "without workers nothing is delivered"),
		mustBeNumber("maxLenApprox", 10000, "acknowledging deletes nothing, and a full server takes no more events; a short stream forgets what was not read"),
		mustNotBeSet("streamTTL", "it would drop what was not read in time, and bounds no memory"),
		mustLast("readTimeout", time.Second, "the default reads for ever, also from a connection that is dead"),
		mustBeSet("writeTimeout", "a publish would wait as long as a read"),
		mustLast("redisMinRetryInterval", 100*time.Millisecond, "the component reads again at once when the server is gone"),
	},
	"state.sqlite": {
		mustHold("connectionString", "synchronous(FULL)", "a power cut may otherwise forget the last commits"),
		mustNot("disableWAL", "true", "readers would wait for writers"),
		must("busyTimeout", "10s", "two replicas share the file, and the default gives up after two seconds"),
		must("keyPrefix", "appid", "another prefix would hide the documents written so far"),
		must("cleanupInterval", "0", "no document expires"),
	},
	"state.postgresql": {
		must("keyPrefix", "appid", "services share the table"),
		must("cleanupInterval", "0", "no document expires"),
		mustBeSet("maxConns", "the default is four per core and sidecar"),
	},
	"state.redis": {
		must("keyPrefix", "appid", "services share the database"),
		must("redisMaxRetries", "-1", "a write the client repeats by itself would conflict with itself"),
		mustNotBeSet("ttlInSeconds", "documents would expire"),
	},
	"nameresolution.sqlite": {
		must("cleanupInterval", "0", "the clean-up deletes live entries, and the sidecars exit (dapr/dapr#8507)"),
		mustBeSet("updateInterval", "an entry not renewed within it counts as dead"),
	},
}
