package eventschemas

var otherFacts []entry
