package main

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func accessToken(keyID, key, channel string, role ...string) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"aud": "hibari", "channel_id": channel, "role": role,
		"exp": time.Now().Add(10 * time.Minute).Unix(),
	})
	token.Header["kid"] = keyID
	return token.SignedString([]byte(key))
}

func main() {
	token, err := accessToken(os.Getenv("HIBARI_SIGNING_KEY_ID"), os.Getenv("HIBARI_SIGNING_KEY"), "hello", "sendonly", "recvonly")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}
