package manifest

import (
	"strings"

	"caravan/internal/text"
)

// Nearest returns the candidate that differs least from a misspelt name. It returns "" if more than a third of the name
// would have to change.
func Nearest(name string, candidates []string) string {
	best, least := "", len(name)/3+1
	for _, candidate := range candidates {
		distance := text.Distance(strings.ToLower(name), strings.ToLower(candidate))
		if strings.HasPrefix(candidate, name) && len(name) >= 2 {
			distance = 1
		}
		if distance <= least && (best == "" || distance < least) {
			best, least = candidate, distance
		}
	}
	return best
}
