package browsertest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/browsertest"
)

// TestPage: the same page, driven in the same way, in both browsers.
func TestPage(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>"+r.URL.Path+"</title><body>Hello</body>")
	}))
	t.Cleanup(web.Close)
	for _, b := range []*browsertest.Browser{browsertest.Chromium(t, nil), browsertest.Firefox(t, nil)} {
		t.Run(b.Name, func(t *testing.T) {
			p := b.Open(web.URL + "/one").For(t)
			if got := browsertest.Eval[string](p, "document.title"); got != "/one" {
				t.Errorf("the page is %s", got)
			}
			if got := browsertest.Eval[map[string]int](p, "Promise.resolve({a: %s.length})", "日本\"\n"); got["a"] != 4 {
				t.Errorf("the object is %v", got)
			}
			if got := browsertest.Eval[any](p, "undefined"); got != nil {
				t.Errorf("undefined is %v", got)
			}
			for _, wrong := range []string{"nonsense()", "Promise.reject(new Error('nonsense'))"} {
				if _, err := browsertest.Try[any](p, wrong); err == nil || !strings.Contains(err.Error(), "nonsense") {
					t.Errorf("%s is %v", wrong, err)
				}
			}
			if _, err := browsertest.Try[int](p, "'text'"); err == nil {
				t.Error("text is a number")
			}
			browsertest.Eval[any](p, `navigator.mediaDevices.getUserMedia({audio: true, video: true}).then((media) => {
				const video = document.createElement("video")
				Object.assign(video, {muted: true, autoplay: true, srcObject: media})
				document.body.append(video)
			})`)
			p.Until("the fake camera plays", "((v) => v.videoWidth > 0 && v.currentTime > 0.2)(document.querySelector('video'))")
			if got := p.Shows(); !strings.Contains(got, "/one") || !strings.Contains(got, "Hello") {
				t.Errorf("the page shows %q", got)
			}
			p.Navigate(web.URL + "/two")
			other := b.Open(web.URL + "/three").For(t)
			for want, one := range map[string]*browsertest.Page{"/two": p, "/three": other} {
				if got := browsertest.Eval[string](one, "location.pathname"); got != want {
					t.Errorf("the page is %s, want %s", got, want)
				}
			}
			p.Close()
			p.Close()
			if _, err := browsertest.Try[any](p, "1"); err == nil {
				t.Error("a closed page answers")
			}
		})
	}
}
