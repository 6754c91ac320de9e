package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var embedded embed.FS

// assetPrefix is where assets are served from.
const assetPrefix = "/assets/"

// assets are the embedded files under names that carry a hash of the content,
// so that browsers may keep them for good.
type assets struct {
	// Static
	url  map[string]string // logical name, such as "console.css", to URL
	body map[string]asset  // URL to content
}

type asset struct {
	content     []byte
	contentType string
}

// contentTypes are those of the files we have; the machine's own table of
// types differs from one to the next.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8",
}

// loadAssets names the embedded files by their hashes. The style sheets become
// one, console.css, in the order of their names.
func loadAssets() (*assets, error) {
	a := &assets{url: map[string]string{}, body: map[string]asset{}}
	var sheets [][]byte
	err := fs.WalkDir(embedded, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		if path.Ext(name) == ".css" {
			sheets = append(sheets, content)
			return nil
		}
		return a.add(path.Base(name), content)
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't load the embedded assets: %w", err)
	}
	sheet := bytes.ReplaceAll(bytes.Join(sheets, []byte("\n")), []byte("FONT_INTER"), []byte(a.url["inter-5.3.0-latin.woff2"]))
	return a, a.add("console.css", sheet)
}

func (a *assets) add(name string, content []byte) error {
	kind := contentTypes[path.Ext(name)]
	if kind == "" {
		return fmt.Errorf("asset %s has a type nobody declared", name)
	}
	sum := sha256.Sum256(content)
	stem := strings.TrimSuffix(name, path.Ext(name))
	url := assetPrefix + stem + "." + hex.EncodeToString(sum[:6]) + path.Ext(name)
	a.url[name] = url
	a.body[url] = asset{content, kind}
	return nil
}

// ServeHTTP answers with an asset, to be kept for good, or 404.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, ok := a.body[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", found.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", start, bytes.NewReader(found.content))
}
