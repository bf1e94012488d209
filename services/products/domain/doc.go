// Package domain holds the rules of products: what a product costs, how stock is held, committed and corrected, and how
// the catalogue is found. It is pure: time and ids come in as arguments, and nothing here reaches outside.
package domain
