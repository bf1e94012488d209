//go:build !race

package racetest

// detector reports whether the program was built with the race detector.
const detector = false
