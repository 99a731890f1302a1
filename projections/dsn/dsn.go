// Package dsn names SQLite files for the driver.
package dsn

import (
	"net/url"
	"path/filepath"
	"strings"
)

// File is the URI of the database at path, whatever characters the path has: in
// a bare "file:"+path SQLite would read '#', '?' and '%' as parts of a URI, and
// open another file. Options go to SQLite and the driver as they are, for
// instance "mode=ro" or "_pragma=busy_timeout(5000)".
func File(path string, options ...string) string {
	uri := "file:" + (&url.URL{Path: filepath.Clean(path)}).EscapedPath()
	if len(options) == 0 {
		return uri
	}
	return uri + "?" + strings.Join(options, "&")
}
