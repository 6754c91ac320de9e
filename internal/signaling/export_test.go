package signaling

// AppendMessage appends the frame of a message, for its test.
var AppendMessage = appendMessage

// ParseFragment reads an SDP fragment's credentials.
func ParseFragment(text string) (ufrag, pwd string, err error) {
	f, err := parseFragment(text)
	return f.ufrag, f.pwd, err
}
