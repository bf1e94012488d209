// Package records tests the store for log lines and spans on a real stack (go run ./dapr up --observe logs): that it has every line
// that the processes wrote, once, whatever was killed; that one id finds all of an order; and that no secret and no personal
// data is in it.
package records
