// Package resiliency proves what dapr/resiliency*.yaml declare, on real sidecars: how often a call or a delivery is
// attempted and in what gaps, how long it may take, when a circuit breaker opens, lets a probe through and closes, that
// a repeated call has one effect, and that overload brings about no further traffic.
//
// The services' programs run, but the test stands before each of them and sees, and where it likes answers, what their
// sidecars bring.
package resiliency
