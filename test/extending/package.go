// Package extending follows the recipes of docs/extending.md in a copy of the project: it adds a service, applies the examples
// of the document, checks the result, and sees the service work in a stack.
package extending
