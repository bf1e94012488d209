// Package resiliency tests the settings of dapr/resiliency*.yaml on real sidecars: how often and in what gaps a call or
// a delivery is attempted, how long it may take, when a circuit breaker opens, lets a probe through and closes, that a
// repeated call has one effect, and that overload causes no additional traffic.
//
// The services' programs run. The test is a proxy before each of them: it sees every request of their sidecars, and can
// answer it itself.
package resiliency
