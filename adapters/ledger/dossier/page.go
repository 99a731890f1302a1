package dossier

func (d Dossier) page() ([]byte, error) { return []byte("<!doctype html>\n"), nil }
