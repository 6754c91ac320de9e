package webhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// Signing is Standard Webhooks 1.0.0: an HMAC-SHA256 over "id.timestamp.body"
// with the key that the secret's base64 text stands for.

// sign sets the three Standard Webhooks headers. The timestamp is that of this
// attempt, not the event's: receivers refuse old ones. Of several secrets, the
// newest first, each makes a signature, and a receiver is content with the one of
// the secret it has.
func sign(h http.Header, secrets []string, id string, at time.Time, body []byte) error {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, tenant.WebhookSecretPrefix))
		if err != nil {
			return fmt.Errorf("couldn't read the endpoint's secret: %w", err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", strings.Join(signatures, " "))
	return nil
}
