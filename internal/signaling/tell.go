package signaling

import (
	"time"

	"github.com/hibari/hibari/internal/sfu"
)

// tell tells the client all that its connection has to say, in order and, as far
// as it goes over the WebSocket, with one write.
func (s *session) tell() *farewell {
	buffer := buffers.Get().(*[]byte)
	frames := (*buffer)[:0]
	s.signals, _ = s.call.connection.Take(s.signals[:0])
	var bye *farewell
	for _, signal := range s.signals {
		if frames, bye = s.signal(frames, signal); bye != nil {
			break
		}
	}
	s.signals = nil // most of the time there are none
	if lost := s.flush(frames); lost != nil && bye == nil {
		bye = lost
	}
	keep(buffer, frames)
	return bye
}

// flush sends frames, if there are any.
func (s *session) flush(frames []byte) *farewell {
	if len(frames) == 0 {
		return nil
	}
	return s.send(frames)
}

// signal does what a signal asks and tells the client of it: it appends a frame,
// or sends it on a DataChannel; not nil: that is the client's end.
func (s *session) signal(frames []byte, signal sfu.Signal) ([]byte, *farewell) {
	switch signal.Kind {
	case sfu.SignalEnded:
		return frames, new(ended(signal.Reason))
	case sfu.SignalConnected:
		s.connected()
		return frames, nil
	case sfu.SignalDataRefused:
		s.opening, s.openDue = false, time.Time{} // it goes on over the WebSocket
		return frames, nil
	case sfu.SignalDataOpen:
		// Sent before anything is said on a channel, not behind it.
		bye := s.switchOver(frames)
		return frames[:0], bye
	case sfu.SignalData:
		return frames, s.receiveData(signal.Label, signal.Data)
	case sfu.SignalDataClosed:
		return frames, s.channelClosed(signal.Label)
	case sfu.SignalReoffer:
		s.answerDue = time.Now().Add(s.door.limits.Answer)
	}
	if s.switched {
		return frames, s.sendSignal(signal)
	}
	frames, err := s.appendSignal(frames, signal)
	if err != nil {
		return frames, s.speechless(err)
	}
	return frames, nil
}

// connected notes that media came up.
func (s *session) connected() {
	if s.up {
		return
	}
	s.up = true
	s.mediaDue = time.Time{}
	if s.opening {
		s.openDue = time.Now().Add(s.door.limits.Media)
	}
	s.call.connected()
}

// appendSignal appends what tells of a signal, packed for the path in use, if
// there are words for it. News that many are told is put into words once.
func (s *session) appendSignal(dst []byte, signal sfu.Signal) ([]byte, error) {
	self := s.call.id
	memo := signal.Memo
	if signal.Notify != nil {
		memo = signal.Notify.Memo
	}
	if memo != nil {
		packed, err := memo.Get(s.packing.name, func() ([]byte, error) {
			message := s.dialect.message(self, signal)
			if message == nil {
				return nil, nil
			}
			return s.packing.append(nil, message)
		})
		return append(dst, packed...), err
	}
	message := s.dialect.message(self, signal)
	if message == nil {
		return dst, nil
	}
	return s.packing.append(dst, message)
}

// speechless is the farewell of a client that something could not be put into
// words for.
func (s *session) speechless(err error) *farewell {
	s.door.log.Error("couldn't tell a client", "connection", s.call.id, "error", err)
	return new(broken)
}
