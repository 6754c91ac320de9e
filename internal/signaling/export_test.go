package signaling

// The parts of a frame, for its test.
var AppendFrame = appendFrame

const FinalText = finalText
