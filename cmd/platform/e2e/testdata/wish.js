// Clients of WHIP and WHEP as they are on npm, bundled for a page.
export { WHIPClient } from "whip-whep/whip.js"
export { WHEPClient } from "whip-whep/whep.js"
export { WHIPClient as EyevinnWHIP } from "@eyevinn/whip-web-client"
export { WebRTCPlayer } from "@eyevinn/webrtc-player"
