// Package repair tests, on a real broker and real sidecars, that a consumer detects dead subscriptions and repairs them
// without a person (internal/subscription). After every fault events must be pushed again; the feed is off.
//
// The short run takes about a minute. CARAVAN_REPAIR_ROUNDS is how often the broker is killed (3; 50 by hand).
// CARAVAN_REPAIR_LONG=1 adds tests that wait for long timeouts of daprd.
package repair
