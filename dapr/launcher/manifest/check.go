package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Violation is one mistake in a resource.
type Violation struct {
	At     string // file, kind and name
	Detail string
}

// String returns the violation as one line.
func (v Violation) String() string { return v.At + ": " + v.Detail }

// Check returns what is wrong with the documents, each by itself and all together. apps are all app ids of the system.
func Check(documents []Document, apps []string) []Violation {
	c := checker{apps: apps}
	for _, d := range documents {
		c.at = d.At()
		c.scopes(d)
		switch {
		case d.Component != nil:
			c.component(d.Component)
		case d.Subscription != nil:
			c.subscription(d.Subscription)
		case d.Configuration != nil:
			c.configuration(d.Configuration)
		case d.Resiliency != nil:
			c.resiliency(d)
		}
	}
	c.coverage(documents)
	return c.found
}

type checker struct {
	apps  []string
	at    string
	found []Violation
}

func (c *checker) report(format string, args ...any) {
	c.found = append(c.found, Violation{At: c.at, Detail: fmt.Sprintf(format, args...)})
}

func (c *checker) scopes(d Document) {
	if d.Configuration != nil {
		return
	}
	if len(d.Scopes()) == 0 {
		c.report("has no scopes, so every app would load it")
	}
	for _, scope := range d.Scopes() {
		if !slices.Contains(c.apps, scope) {
			c.report("scope %q is no app of the system", scope)
		}
	}
}

func (c *checker) component(component *Component) {
	spec := component.Spec
	known, ok := knownSettings[spec.Type]
	if !ok {
		c.report("type %q is none whose settings are known; add them with their source", spec.Type)
		return
	}
	if spec.Version == "" {
		c.report("has no version")
	}
	if spec.Type == "state.postgresql" && spec.Version != "v2" {
		c.report("version %q: only v2 has ETags that are never used twice", spec.Version)
	}
	if spec.IgnoreErrors {
		c.report("ignoreErrors: the sidecar would run without it, and never try again")
	}
	c.duration("initTimeout", spec.InitTimeout)
	seen := map[string]bool{}
	for _, item := range spec.Metadata {
		if !slices.Contains(known, item.Name) {
			c.report("%s does not read %q%s", spec.Type, item.Name, suggestion(item.Name, known))
		}
		if seen[item.Name] {
			c.report("%q is set twice", item.Name)
		}
		seen[item.Name] = true
	}
	if component.Metadata.Name == liveName {
		c.live(component)
		return
	}
	c.lossless(spec.Type, component.Value)
}

// liveName is the component through which every replica of liveApp hears of all events, for the event streams of users.
const (
	liveName = "live"
	liveApp  = "notifications"
)

func (c *checker) live(component *Component) {
	if !slices.Equal(component.Scopes, []string{liveApp}) {
		c.report("is for %v, want %s alone: the sidecar of another app would get every event for nothing", component.Scopes, liveApp)
	}
	rules, ok := live[component.Spec.Type]
	if !ok {
		c.report("type %q delivers no event to every replica from now on; leave it out, the inboxes are read then", component.Spec.Type)
	}
	c.keeps(rules, component.Value)
}

func (c *checker) lossless(kind string, value func(string) (string, bool)) {
	c.keeps(lossless[kind], value)
}

func (c *checker) keeps(rules []rule, value func(string) (string, bool)) {
	for _, rule := range rules {
		if got, set := value(rule.setting); !rule.accept(got, set) {
			c.report("%s %s (it is %q)", rule.setting, rule.reason, got)
		}
	}
}

func (c *checker) subscription(s *Subscription) {
	if s.Spec.Pubsub != "pubsub" {
		c.report("pubsubname is %q, want %q", s.Spec.Pubsub, "pubsub")
	}
	if s.Spec.Topic == "" {
		c.report("has no topic")
	}
	if len(s.Scopes) != 1 {
		c.report("is for %d apps; one subscription has one consumer", len(s.Scopes))
		return
	}
	dead := s.Scopes[0] + ".dead"
	route := "/events/" + s.Spec.Topic
	if s.Spec.Topic == dead {
		route, dead = "/events/dead", ""
		if s.Spec.Metadata["rawPayload"] != "true" {
			c.report("rawPayload is not \"true\": a dead letter that is no event would be tried again for ever")
		}
	}
	if s.Spec.Routes.Default != route {
		c.report("route is %q, want %q", s.Spec.Routes.Default, route)
	}
	if s.Spec.DeadLetterTopic != dead {
		c.report("deadLetterTopic is %q, want %q: what a handler gives up on would be gone", s.Spec.DeadLetterTopic, dead)
	}
	if s.Spec.Metadata["queueType"] != "quorum" {
		c.report("queueType is %q, want quorum: a classic queue is one copy on one disk", s.Spec.Metadata["queueType"])
	}
	for _, key := range slices.Sorted(maps.Keys(s.Spec.Metadata)) {
		// daprd itself reads those in metadata/utils.go; the others are the reqMetadata keys of a subscription in
		// pubsub/rabbitmq/rabbitmq.go.
		if known := []string{"rawPayload", "queueType", "singleActiveConsumer", "maxLen", "maxLenBytes", "maxPriority", "routingKey", "queueName"}; !slices.Contains(known, key) {
			c.report("nothing reads the subscription setting %q%s", key, suggestion(key, known))
		}
	}
}

func (c *checker) configuration(config *Configuration) {
	rate, err := strconv.ParseFloat(config.Spec.Tracing.SamplingRate, 64)
	if err != nil || rate <= 0 || rate > 1 {
		c.report("tracing.samplingRate is %q: 0 turns trace contexts off altogether, and what is no number counts as 0.0001", config.Spec.Tracing.SamplingRate)
	}
	if config.Spec.Tracing.Otel != nil {
		c.report("tracing.otel: where spans go is said by OTEL_EXPORTER_OTLP_* alone, for apps and sidecars alike")
	}
	names := config.Spec.NameResolution
	if names == nil {
		return
	}
	kind := "nameresolution." + names.Component
	known, ok := knownSettings[kind]
	if !ok {
		c.report("name resolution %q is none whose settings are known; add them with their source", names.Component)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(names.Configuration)) {
		if !slices.Contains(known, key) {
			c.report("%s does not read %q%s", kind, key, suggestion(key, known))
		}
	}
	c.lossless(kind, func(setting string) (string, bool) {
		value, set := names.Configuration[setting]
		return value, set
	})
}

func (c *checker) resiliency(d Document) {
	if d.Index != 0 {
		c.report("is document %d of its file; daprd reads only the first", d.Index+1)
	}
	spec := d.Resiliency.Spec
	for _, name := range slices.Sorted(maps.Keys(spec.Policies.Timeouts)) {
		c.duration("timeout "+name, spec.Policies.Timeouts[name])
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Policies.Retries)) {
		c.retry(name, spec.Policies.Retries[name])
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Policies.CircuitBreakers)) {
		breaker := spec.Policies.CircuitBreakers[name]
		c.duration("breaker "+name+" timeout", breaker.Timeout)
		c.duration("breaker "+name+" interval", breaker.Interval)
		if breaker.Trip == "" || breaker.Timeout == "" {
			c.report("breaker %s: say when it trips and how long it stays open", name)
		}
	}
	for _, app := range slices.Sorted(maps.Keys(spec.Targets.Apps)) {
		c.appTarget(d.Resiliency, app, spec.Targets.Apps[app])
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Targets.Components)) {
		target := spec.Targets.Components[name]
		c.named(d.Resiliency, name+" inbound", target.Inbound)
		c.named(d.Resiliency, name+" outbound", target.Outbound)
		if target.Inbound.CircuitBreaker != "" || target.Outbound.CircuitBreaker != "" {
			c.report("component %s has a breaker: one breaker stands before both its directions", name)
		}
		if name == "store" && target.Outbound.Retry != "" {
			c.report("component store has a retry: a repeated write conflicts with itself")
		}
	}
}

func (c *checker) retry(name string, retry Retry) {
	if retry.Policy != "constant" && retry.Policy != "exponential" {
		c.report("retry %s: policy is %q, want constant or exponential", name, retry.Policy)
	}
	if retry.MaxRetries == nil || *retry.MaxRetries < 0 {
		c.report("retry %s has no maxRetries, and would go on for ever", name)
	}
	c.duration("retry "+name+" duration", retry.Duration)
	c.duration("retry "+name+" maxInterval", retry.MaxInterval)
}

func (c *checker) appTarget(r *Resiliency, app string, policy Policy) {
	if !slices.Contains(c.apps, app) {
		c.report("target %q is no app of the system", app)
	}
	c.named(r, app, policy)
	if policy == (Policy{}) {
		c.report("target %s names no policy, so Dapr's built-in three retries stay", app)
	}
	retry, ok := r.Spec.Policies.Retries[policy.Retry]
	if !ok || retry.MaxRetries == nil || *retry.MaxRetries == 0 {
		return
	}
	if retry.Matching == nil || retry.Matching.HTTPStatusCodes != "500-599" || retry.Matching.GRPCStatusCodes == "" {
		c.report("target %s: retry %s must match 500-599 and transport codes only, or refusals are repeated too", app, policy.Retry)
	}
	if policy.Timeout == "" {
		c.report("target %s has a retry and no timeout", app)
	}
}

func (c *checker) named(r *Resiliency, target string, policy Policy) {
	policies := r.Spec.Policies
	if _, ok := policies.Timeouts[policy.Timeout]; policy.Timeout != "" && !ok {
		c.report("target %s names timeout %q, which is not defined", target, policy.Timeout)
	}
	if _, ok := policies.Retries[policy.Retry]; policy.Retry != "" && !ok {
		c.report("target %s names retry %q, which is not defined", target, policy.Retry)
	}
	if _, ok := policies.CircuitBreakers[policy.CircuitBreaker]; policy.CircuitBreaker != "" && !ok {
		c.report("target %s names breaker %q, which is not defined", target, policy.CircuitBreaker)
	}
}

func (c *checker) duration(what, value string) {
	if value == "" {
		return
	}
	if _, err := time.ParseDuration(value); err != nil {
		c.report("%s is %q, which is no duration", what, value)
	}
}

// coverage checks what needs all documents: every caller lists every callee, and every consumer repeats a failed
// delivery before it gives up. It applies only if the documents have any resiliency.
func (c *checker) coverage(documents []Document) {
	callers := map[string]*Resiliency{}
	consumers := map[string]bool{}
	for _, d := range documents {
		if d.Subscription != nil {
			for _, app := range d.Subscription.Scopes {
				consumers[app] = true
			}
		}
		if d.Resiliency == nil {
			continue
		}
		for _, app := range d.Resiliency.Scopes {
			if _, twice := callers[app]; twice {
				c.at = d.At()
				c.report("app %s has a second resiliency; daprd merges them in no order it promises", app)
			}
			callers[app] = d.Resiliency
		}
	}
	if len(callers) == 0 {
		return
	}
	for _, app := range c.apps {
		c.at = "resiliency of " + app
		caller, ok := callers[app]
		if !ok {
			c.report("is missing")
			continue
		}
		for _, callee := range c.apps {
			if _, listed := caller.Spec.Targets.Apps[callee]; !listed && callee != "gateway" {
				c.report("does not list %s, so calls of it get Dapr's built-in three retries of any verb", callee)
			}
		}
		if consumers[app] && caller.Spec.Targets.Components["pubsub"].Inbound.Retry == "" {
			c.report("has no inbound retry, so the first failure of a handler goes to the dead letters")
		}
	}
}

func contains(value, part string) bool { return strings.Contains(value, part) }

// suggestion is the known name that is nearest to a misspelt one, as ", did you mean x?".
func suggestion(name string, known []string) string {
	if nearest := Nearest(name, known); nearest != "" {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	return ""
}
