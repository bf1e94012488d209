// Command notifications notifies users about their orders and money: it consumes the events of users, orders and payments and
// keeps an inbox per user with exactly one entry for each event.
package main

import (
	"caravan/internal/service"
	"caravan/services/notifications/assembly"
	"caravan/services/notifications/contract"
)

func main() { service.Main(contract.App, assembly.Build) }
