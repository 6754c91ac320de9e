package signaling

// AppendMessage appends the frame of a message, for its test.
var AppendMessage = appendMessage
