// Package repair proves, on a real broker and real sidecars, that a consumer notices dead subscriptions and repairs them
// without a person (internal/subscription). After every fault events are pushed again; the tests switch the feed off.
//
// The short run takes about a minute. CARAVAN_REPAIR_ROUNDS sets how often the broker is killed (3; 50 by hand),
// and CARAVAN_REPAIR_LONG=1 adds what has to wait for long timeouts of daprd.
package repair
