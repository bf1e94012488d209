// Command notifications tells users what happened to their orders and money: it hears the facts of users, orders and
// payments and keeps an inbox per user with exactly one entry for each of them.
package main

import (
	"caravan/internal/service"
	"caravan/services/notifications/assembly"
	"caravan/services/notifications/contract"
)

func main() { service.Main(contract.App, assembly.Build) }
