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
  bird(pen, x, y, Math.sin(seconds * 9));
  pen.strokeStyle = "#ffffff";
  for (let ring = 0; ring < 3; ring++) {
    const size = (seconds * 40 + ring * 27) % 81;
    pen.globalAlpha = 1 - size / 81;
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.arc(x + 46, y - 10, 12 + size, -0.8, 0.8);
    pen.stroke();
  }
  pen.globalAlpha = 1;
  pen.fillStyle = "#ffffff";
  pen.font = "600 26px ui-monospace, Menlo, Consolas, monospace";
  pen.fillText(new Date().toISOString().slice(11, 23), 18, 40);
  pen.font = "500 15px ui-monospace, Menlo, Consolas, monospace";
  pen.fillText(`frame ${frame}`, 18, 62);
}

// The bird of the logo, in two parts so that it can beat its wing.
const WING = new Path2D("M12.2 20.6C9.4 16.6 9.3 11.2 11.6 6.2 14.9 8.3 17.4 11 18.9 14L17 21Z");
const BODY = new Path2D("M5.2 25.6C8.6 24.6 10.6 23 12.2 20.6L14 16 18.9 14C19.6 12.4 20.9 11.3 22.6 11.2L22.2 9.3 24.3 11.1" +
  "C25.3 11.4 26 12 26.4 12.8L28.6 13.5 26.3 14.6C25.9 18.9 22.4 22.3 17.6 22.7 14 23 9.7 25.3 5.2 25.6Z");

function bird(pen, x, y, beat) {
  pen.save();
  pen.translate(x, y);
  pen.scale(4.4, 4.4);
  pen.translate(-18, -16);
  pen.fillStyle = "#ffffff";
  pen.fill(BODY);
  pen.save();
  pen.translate(0, 19);
  pen.scale(1, 0.35 + 0.65 * beat);
  pen.translate(0, -19);
  pen.fillStyle = "#dfe9ff";
  pen.fill(WING);
  pen.restore();
  pen.fillStyle = "#1d4fc4";
  pen.beginPath();
  pen.arc(23.9, 13.3, 0.85, 0, 7);
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
