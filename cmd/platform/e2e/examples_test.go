package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestExamples runs the README's token examples as they are printed there and
// connects with what they sign.
func TestExamples(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var flat strings.Builder // the README without the indentation of its lists
	for line := range strings.Lines(string(readme)) {
		flat.WriteString(strings.TrimPrefix(line, "   "))
	}
	s := newServer(t)
	a := s.tenant("Lark")
	for file, run := range map[string][]string{
		"token.mjs":        {"node", "token.mjs"},
		"token.py":         {"python3", "token.py"},
		"token-go/main.go": {"go", "run", "./token-go"},
	} {
		t.Run(file, func(t *testing.T) {
			source, err := os.ReadFile("../../../docs/examples/" + file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(flat.String(), string(source)) {
				t.Errorf("the README does not show docs/examples/%s as it is", file)
			}
			cmd := exec.Command(run[0], run[1:]...)
			cmd.Dir = "../../../docs/examples"
			cmd.Env = append(os.Environ(), "HIBARI_SIGNING_KEY_ID="+a.SigningKeyID, "HIBARI_SIGNING_KEY="+a.SigningKey)
			cmd.Stderr = os.Stderr
			token, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			mustDial2015(t, s, "upstream", "hello", strings.TrimSpace(string(token)))
		})
	}
}
