// Package mending proves, on a real broker and real sidecars, that a consumer whose subscriptions do not live is
// noticed and mended without a person: whatever happens, events come by push again, not only from the feed, which
// the tests switch off.
//
// The short run takes about a minute. CARAVAN_MENDING_ROUNDS sets how often the broker is killed (3; 50 by hand),
// and CARAVAN_MENDING_LONG=1 adds what has to wait for long limits of daprd.
package mending
