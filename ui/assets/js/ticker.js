// A metronome in a worker: pages in a hidden tab get one timer a second, a
// worker keeps time. 30 beats a second.
setInterval(() => postMessage(0), 1000 / 30);
