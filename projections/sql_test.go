package projections

import "testing"

func TestQuestionsAreCounted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"":                                     0,
		" ;; ":                                 0,
		"-- nothing":                           0,
		"/* no":                                0,
		"SELECT 1":                             1,
		"SELECT 1;":                            1,
		" ; SELECT 1 ; -- ; done\n ; /* ; */":  1,
		"SELECT 1; SELECT 2":                   2,
		"SELECT 1;\n-- and\nDELETE FROM x":     2,
		"SELECT ';', ''';''', \";\", [;], `;`": 1,
		"SELECT 'it''s;'":                      1,
		"SELECT 'open; SELECT 2":               1,
		"SELECT 2 - 1 / 1; x":                  2,
		"'a'":                                  1,
		"SELECT 1 /* ; */ + 1":                 1,
	} {
		if got := questionsIn(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
