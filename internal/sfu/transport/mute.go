package transport

import "github.com/pion/logging"

// muted keeps pion from writing to the process's output by itself: what goes wrong
// with a peer its errors say, and the endpoint's log has them.
var muted = &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
