package request

// Parse is Decode for a body that is already in memory.
func Parse(body []byte, dst any) error { return parse(body, dst, settings{}) }
