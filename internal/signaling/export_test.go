package signaling

import "encoding/json"

// AppendMessage appends the frame of a message, for its test.
var AppendMessage = appendMessage

// ParseFragment reads an SDP fragment's credentials.
func ParseFragment(text string) (ufrag, pwd string, err error) {
	f, err := parseFragment(text)
	return f.ufrag, f.pwd, err
}

// Invoke is what a client that may call nothing is answered; nil: nothing.
func Invoke(data []byte) []byte {
	response := (&call{}).invoke(data)
	if response == nil {
		return nil
	}
	text, err := json.Marshal(response)
	if err != nil {
		panic(err)
	}
	return text
}
