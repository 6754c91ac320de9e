// The demo: publish to a channel or watch it, speaking today's Sora dialect
// over the WebSocket directly, in about the fewest lines that do it properly.
//
//   connect → offer → answer → (media) … re-offer → re-answer … disconnect
//
// For tests and scripts: #publish, #watch, #stop; #status with data-state
// (idle, connecting, connected, ended, refused, failed) and data-code (the
// refusal's code); #local; video.remote with data-stream; #stats with
// data-frames. ?role=publish|watch starts by itself, ?source=canvas draws the
// picture, ?codec=VP9 chooses the codec.

const $ = (id) => document.getElementById(id);
const root = $("demo"), query = new URLSearchParams(location.search);
const channel = root.dataset.channel;

/** words says what a refusal's code means to the person at this page. */
const words = {
  banned: "This page's access token is barred until it expires. Reload the page to get another one.",
  token_invalid: "The access token was refused. Reload the page to get another one.",
  token_expired: "The access token has expired. Try again: the page fetches another one.",
  channel_denied: "The access token is for another channel.",
  role_denied: "The access token does not allow this role.",
  tenant_full: "Your licence is full: as many connections as it allows are live. End one and try again.",
  channel_full: "This channel is full. End a connection in it and try again.",
  tenant_suspended: "Your organisation is suspended.",
  draining: "The server is about to stop. Try again in a moment.",
  unavailable: "The platform cannot admit anybody right now. Try again in a few seconds.",
  rate_limited: "Too many tries. Wait a moment.",
  timeout: "The network went silent, so the server ended the connection.",
  setup_timeout: "Media could not connect. Is UDP to the server's media port open?",
  bad_message: "The server did not understand this page. Reload it.",
};

/** farewells are the orderly ends. */
const farewells = {
  "TYPE-DISCONNECT": "Stopped.",
  "DISCONNECTED-API": "You were disconnected from the console or by your server.",
  "LIFETIME-EXPIRED": "The access token's time was up.",
  "BANNED": "You were barred.",
  "REPLACED": "Another client came with the same client id.",
  "SERVER-SHUTDOWN": "The server is stopping. Try again in a moment.",
};

let call = null;  // the one in progress
let token = null; // kept as long as this page stands, so that a bar holds

function say(state, text, code = "") {
  $("status").dataset.state = state;
  $("status").dataset.code = code;
  $("status-text").textContent = text;
  const busy = state === "connecting" || state === "connected";
  for (const id of ["publish", "watch", "codec", "source"]) $(id).disabled = busy;
  $("stop").disabled = !busy;
}

async function accessToken() {
  if (token && Date.parse(token.expires_at) > Date.now()) return token.token;
  const answer = await fetch(root.dataset.tokenUrl, { method: "POST", headers: { "X-Hibari-Fragment": "1" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.message);
  token = body;
  return token.token;
}

/** capabilities is a throw-away offer: the server reads the codecs from it. */
async function capabilities() {
  const pc = new RTCPeerConnection();
  for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { direction: "recvonly" });
  const offer = await pc.createOffer();
  pc.close();
  return offer.sdp;
}

/** Call is one connection, from its button to its end. */
class Call {
  constructor(role) {
    this.role = role;
    this.source = null; // what is sent
    this.socket = null;
    this.peer = null;
    this.connected = false;
    this.over = false;
    this.todo = Promise.resolve(); // messages are handled one after the other
    this.meter = new Meter(role);
  }

  async start() {
    say("connecting", "Getting ready…");
    const secret = await accessToken();
    if (this.role === "sendonly") {
      const { openSource } = await import(root.dataset.source);
      this.source = await openSource($("source").value, root.dataset.ticker);
      if (this.over) return this.source.stop();
      $("local").srcObject = this.source.stream;
      $("local").muted = true;
      $("local-screen").hidden = false;
      $("wait").hidden = true;
    }
    const sdp = await capabilities();
    if (this.over) return;
    say("connecting", this.source?.note || "Connecting…");
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/signaling`);
    this.socket.onopen = () => this.send({
      type: "connect", role: this.role, channel_id: channel, audio: true,
      video: this.role === "sendonly" ? { codec_type: $("codec").value } : true,
      sdp, sora_client: "Hibari demo", environment: navigator.userAgent, metadata: { access_token: secret },
      data_channel_signaling: false, // this page knows its WebSocket only
    });
    this.socket.onmessage = (event) => {
      this.todo = this.todo.then(() => this.handle(JSON.parse(event.data))).catch((error) => this.fail(error));
    };
    this.socket.onclose = (event) => this.closed(event.code, event.reason);
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  async handle(message) {
    if (this.over) return;
    switch (message.type) {
      case "offer":
        this.open(message);
        return this.answer(message.sdp, "answer");
      case "re-offer":
        return this.answer(message.sdp, "re-answer");
      case "ping":
        return this.send(message.stats && this.peer
          ? { type: "pong", stats: [...(await this.peer.getStats()).values()] } : { type: "pong" });
      case "notify":
        if (message.channel_connections !== undefined) $("stat-people").textContent = message.channel_connections;
    }
  }

  open(offer) {
    root.dataset.connection = offer.connection_id;
    this.peer = new RTCPeerConnection(offer.config);
    this.peer.onicecandidate = ({ candidate }) => {
      if (candidate) this.send({ type: "candidate", candidate: candidate.candidate });
    };
    this.peer.onconnectionstatechange = () => {
      if (this.peer.connectionState === "connected") this.up();
      if (this.peer.connectionState === "failed") this.fail(new Error(words.setup_timeout));
    };
    this.peer.ontrack = ({ streams }) => {
      // "default" only keeps the first offer from being empty.
      if (streams[0] && streams[0].id !== "default") show(streams[0]);
    };
  }

  async answer(sdp, type) {
    await this.peer.setRemoteDescription({ type: "offer", sdp });
    if (type === "answer") for (const track of this.source?.stream.getTracks() ?? []) this.peer.addTrack(track, this.source.stream);
    await this.peer.setLocalDescription(await this.peer.createAnswer());
    this.send({ type, sdp: this.peer.localDescription.sdp });
  }

  up() {
    if (this.connected) return;
    this.connected = true;
    const note = this.source?.note ? ` ${this.source.note}` : "";
    say("connected", (this.role === "sendonly" ? "On air." : "Connected. Whoever publishes appears here.") + note);
    this.timer = setInterval(() => this.meter.read(this.peer), 1000);
  }

  stop() {
    this.send({ type: "disconnect", reason: "NO-ERROR" });
    this.finish("idle", "Stopped.");
  }

  fail(error) {
    this.finish("failed", error?.message || "Something went wrong.");
  }

  /** closed is the server's word: a refusal, an orderly end, or silence. */
  closed(code, reason) {
    if (this.over) return;
    if (code === 4490) {
      const [name, ...hint] = reason.split(": ");
      const text = words[name] ?? hint.join(": ") ?? reason;
      return this.finish(this.connected ? "ended" : "refused", text || reason, name);
    }
    if (code === 1000) return this.finish("ended", farewells[reason] ?? `The server ended the connection (${reason}).`, reason);
    this.finish("failed", `The connection to the server was lost (${reason || code}). Try again.`, String(code));
  }

  finish(state, text, code) {
    if (this.over) return;
    this.over = true;
    clearInterval(this.timer);
    this.source?.stop();
    this.peer?.close();
    if (this.socket) setTimeout(() => this.socket.close(), 0); // after what is still to be sent
    $("local").srcObject = null;
    $("local-screen").hidden = true;
    for (const screen of document.querySelectorAll("[data-remote]")) screen.remove();
    $("wait").hidden = false;
    call = null;
    say(state, text, code);
  }
}

/** show gives a publisher's stream a screen, until its last track is gone. */
function show(stream) {
  if (document.querySelector(`[data-remote="${CSS.escape(stream.id)}"]`)) return;
  const screen = document.createElement("div"), video = document.createElement("video"), name = document.createElement("span");
  screen.className = "screen";
  screen.dataset.remote = stream.id;
  video.className = "remote";
  video.dataset.stream = stream.id;
  video.autoplay = true;
  video.playsInline = true;
  video.muted = !$("sound").checked;
  video.srcObject = stream;
  name.className = "screen-name";
  name.textContent = stream.id;
  screen.append(video, name);
  $("stage").append(screen);
  $("wait").hidden = true;
  stream.onremovetrack = () => {
    if (stream.getTracks().length > 0) return;
    screen.remove();
    $("wait").hidden = Boolean(document.querySelector("[data-remote]")) || !$("local-screen").hidden;
  };
}

/** Meter turns the browser's statistics into the line of figures. */
class Meter {
  constructor(role) {
    this.sends = role === "sendonly";
    this.last = null;
    $("frames-kind").textContent = this.sends ? "sent" : "decoded";
  }

  async read(peer) {
    const reports = await peer.getStats(), kind = this.sends ? "outbound-rtp" : "inbound-rtp";
    const sum = { frames: 0, bytes: 0, rate: 0, size: "–", codec: "–", trip: undefined };
    for (const report of reports.values()) {
      if (report.type === "candidate-pair" && report.nominated) sum.trip = report.currentRoundTripTime ?? sum.trip;
      if (report.type !== kind) continue;
      sum.bytes += (this.sends ? report.bytesSent : report.bytesReceived) ?? 0;
      if (report.kind !== "video") continue;
      sum.frames += (this.sends ? report.framesEncoded : report.framesDecoded) ?? 0;
      sum.rate += report.framesPerSecond ?? 0;
      if (report.frameWidth) sum.size = `${report.frameWidth} × ${report.frameHeight}`;
      const codec = reports.get(report.codecId);
      if (codec) sum.codec = codec.mimeType.replace("video/", "");
    }
    const now = performance.now(), before = this.last;
    this.last = { bytes: sum.bytes, at: now };
    const bits = before ? Math.max(0, sum.bytes - before.bytes) * 8 / (now - before.at) : 0; // kbit/s
    $("stats").dataset.frames = sum.frames;
    $("stats").dataset.codec = sum.codec;
    $("stat-frames").textContent = sum.frames.toLocaleString("en");
    $("stat-size").textContent = sum.size;
    $("stat-rate").textContent = Math.round(sum.rate);
    $("stat-bits").textContent = bits >= 1000 ? `${(bits / 1000).toFixed(1)} Mbit/s` : `${Math.round(bits)} kbit/s`;
    $("stat-trip").textContent = sum.trip === undefined ? "–" : sum.trip < 0.001 ? "under 1 ms" : `${Math.round(sum.trip * 1000)} ms`;
    $("stat-codec").textContent = sum.codec;
  }
}

function join(role) {
  if (call) return;
  call = new Call(role);
  const mine = call;
  mine.start().catch((error) => mine.fail(error));
}

$("publish").addEventListener("click", () => join("sendonly"));
$("watch").addEventListener("click", () => join("recvonly"));
$("stop").addEventListener("click", () => call?.stop());
$("sound").addEventListener("change", () => {
  for (const video of document.querySelectorAll("video.remote")) video.muted = !$("sound").checked;
});
addEventListener("pagehide", () => call?.stop());

for (const name of ["codec", "source"]) {
  const wish = query.get(name), choice = [...$(name).options].find((o) => o.value.toLowerCase() === wish?.toLowerCase());
  if (choice) $(name).value = choice.value;
}
if (!navigator.mediaDevices) $("source").value = "canvas"; // plain HTTP from another machine has no camera
if (query.get("role") === "publish") join("sendonly");
if (query.get("role") === "watch") join("recvonly");
