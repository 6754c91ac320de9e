// What the demo publishes: the camera and microphone, or, where there is none
// or it is not allowed, a drawn picture that moves and a tone that beats.

const WIDTH = 640, HEIGHT = 360, RATE = 30;

/** openSource returns { stream, stop, note }: note says why it is not what was
 *  asked for, or is empty. */
export async function openSource(kind, tickerURL) {
  if (kind === "camera") {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: true, video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
      });
      return { stream, stop: () => stop(stream), note: "" };
    } catch (error) {
      const why = error?.name === "NotAllowedError" ? "The camera is not allowed" : "There is no camera";
      return { ...draw(tickerURL), note: `${why}: a drawn picture is sent instead.` };
    }
  }
  return { ...draw(tickerURL), note: "" };
}

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());

function draw(tickerURL) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const pen = canvas.getContext("2d", { alpha: false });
  const sound = tone();
  const { track, push } = videoTrack(canvas);
  const began = performance.now();
  let frame = 0;
  const step = () => {
    paint(pen, (performance.now() - began) / 1000, frame++);
    push();
  };
  step();
  const ticker = new Worker(tickerURL);
  ticker.onmessage = step;
  const stream = new MediaStream([track, ...sound.tracks]);
  return {
    stream,
    stop() {
      ticker.terminate();
      sound.close();
      stop(stream);
    },
  };
}

/** videoTrack makes a track of a canvas. A captured canvas stands still in a
 *  hidden tab; frames handed over one by one do not, where the browser can. */
function videoTrack(canvas) {
  if (!("MediaStreamTrackGenerator" in window)) {
    return { track: canvas.captureStream(RATE).getVideoTracks()[0], push() {} };
  }
  const track = new MediaStreamTrackGenerator({ kind: "video" });
  const writer = track.writable.getWriter();
  let busy = false;
  return {
    track,
    push() {
      if (busy || track.readyState !== "live") return;
      busy = true;
      const frame = new VideoFrame(canvas, { timestamp: performance.now() * 1000 });
      writer.write(frame).catch(() => frame.close()).finally(() => { busy = false; });
    },
  };
}

/** paint draws the bird on its way over the fields, with the time. */
function paint(pen, seconds, frame) {
  const sky = pen.createLinearGradient(0, 0, 0, HEIGHT);
  const dawn = (Math.sin(seconds / 4) + 1) / 2;
  sky.addColorStop(0, `hsl(${222 - 14 * dawn} 68% ${30 + 14 * dawn}%)`);
  sky.addColorStop(0.75, `hsl(${28 + 8 * dawn} 85% ${62 + 8 * dawn}%)`);
  sky.addColorStop(1, "hsl(26 90% 60%)");
  pen.fillStyle = sky;
  pen.fillRect(0, 0, WIDTH, HEIGHT);
  for (let row = 0; row < 3; row++) {
    pen.fillStyle = ["#31508c", "#274277", "#1e3461"][row];
    pen.beginPath();
    pen.moveTo(0, HEIGHT);
    for (let x = 0; x <= WIDTH; x += 16) {
      pen.lineTo(x, HEIGHT - 62 + row * 18 + 9 * Math.sin(x / (70 + 20 * row) + seconds * (0.6 + row / 2)));
    }
    pen.lineTo(WIDTH, HEIGHT);
    pen.fill();
  }
  const x = (seconds * 90) % (WIDTH + 160) - 80, y = 130 + 46 * Math.sin(seconds * 1.7);
  bird(pen, x, y, Math.sin(seconds * 11));
  pen.strokeStyle = "#ffffff";
  for (let ring = 0; ring < 3; ring++) {
    const size = (seconds * 40 + ring * 27) % 81;
    pen.globalAlpha = 1 - size / 81;
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.arc(x + 44, y - 8, 12 + size, -0.8, 0.8);
    pen.stroke();
  }
  pen.globalAlpha = 1;
  pen.fillStyle = "#ffffff";
  pen.font = "600 26px ui-monospace, Menlo, Consolas, monospace";
  pen.fillText(new Date().toISOString().slice(11, 23), 18, 40);
  pen.font = "500 15px ui-monospace, Menlo, Consolas, monospace";
  pen.fillText(`frame ${frame}`, 18, 62);
}

function bird(pen, x, y, beat) {
  pen.save();
  pen.translate(x, y);
  pen.fillStyle = "#ffffff";
  pen.beginPath();
  pen.ellipse(0, 0, 40, 17, -0.25, 0, 7);
  pen.fill();
  pen.beginPath();
  pen.arc(34, -13, 13, 0, 7);
  pen.fill();
  pen.beginPath();
  pen.moveTo(45, -17);
  pen.lineTo(60, -12);
  pen.lineTo(45, -8);
  pen.moveTo(28, -24);
  pen.lineTo(24, -38);
  pen.lineTo(38, -25);
  pen.moveTo(-30, 4);
  pen.lineTo(-72, 24);
  pen.lineTo(-24, 15);
  pen.moveTo(-16, -6);
  pen.lineTo(-34, -18 - 52 * beat);
  pen.lineTo(16, -8);
  pen.fill();
  pen.restore();
}

/** tone is a quiet note that beats once a second. It sounds once the page has
 *  been touched: browsers keep pages silent until then. */
function tone() {
  try {
    const audio = new AudioContext();
    const note = new OscillatorNode(audio, { type: "triangle", frequency: 523.25 });
    const beat = new OscillatorNode(audio, { frequency: 1 });
    const volume = new GainNode(audio, { gain: 0.06 }), depth = new GainNode(audio, { gain: 0.05 });
    const out = new MediaStreamAudioDestinationNode(audio);
    beat.connect(depth).connect(volume.gain);
    note.connect(volume).connect(out);
    note.start();
    beat.start();
    const wake = () => audio.resume();
    wake();
    addEventListener("pointerdown", wake);
    addEventListener("keydown", wake);
    return {
      tracks: out.stream.getAudioTracks(),
      close() {
        removeEventListener("pointerdown", wake);
        removeEventListener("keydown", wake);
        audio.close();
      },
    };
  } catch {
    return { tracks: [], close() {} }; // no sound device at all
  }
}
