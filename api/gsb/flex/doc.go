// Package flex reads and writes FlexBuffers, the schema-less encoding that the
// Golem service bus uses.
//
// Go values and FlexBuffers map onto each other like this:
//
//	nil            Null
//	bool           Bool
//	int64          Int      (also written from int and the smaller signed types)
//	uint64         UInt     (also written from uint and the smaller unsigned types)
//	float64        Float
//	string         String   (Key reads as string too)
//	[]byte         Blob
//	[]any          Vector   (typed vectors read as []any)
//	map[string]any Map
//
// Reading never trusts the input: offsets are checked, and depth, number of
// values and bytes looked at have limits.
package flex
