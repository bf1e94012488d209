// Package console tests the page for staff in a browser, on a real stack. It is a module of its own, so that the product does not depend
// on what drives the browser.
package console
