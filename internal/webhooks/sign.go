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
// attempt, not the event's: receivers refuse old ones.
func sign(h http.Header, secret, id string, at time.Time, body []byte) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, tenant.WebhookSecretPrefix))
	if err != nil {
		return fmt.Errorf("couldn't read the endpoint's secret: %w", err)
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}
