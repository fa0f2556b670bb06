package vol

// snapshot keeps the chunks of one snapshot.
func (m *marker) snapshot(name, value []byte) error { return nil }
