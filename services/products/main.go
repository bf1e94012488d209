// Command products is the catalogue of the shop with its prices and stock.
package main

import (
	"caravan/internal/service"
	"caravan/services/products/assembly"
	"caravan/services/products/contract"
)

func main() { service.Main(contract.App, assembly.Build) }
