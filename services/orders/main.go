// Command orders places orders and drives each of them to an end.
package main

import (
	"caravan/internal/service"
	"caravan/services/orders/assembly"
	"caravan/services/orders/contract"
)

func main() { service.Main(contract.App, assembly.Build) }
