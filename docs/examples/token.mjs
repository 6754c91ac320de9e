import { createHmac } from "node:crypto"

const encode = (data) => Buffer.from(data).toString("base64url")

export function accessToken({ keyId, key, channel, role, seconds = 600 }) {
  const header = encode(JSON.stringify({ alg: "HS256", typ: "JWT", kid: keyId }))
  const exp = Math.floor(Date.now() / 1000) + seconds
  const claims = encode(JSON.stringify({ aud: "hibari", channel_id: channel, role, exp }))
  const signature = createHmac("sha256", key).update(`${header}.${claims}`).digest("base64url")
  return `${header}.${claims}.${signature}`
}

const { HIBARI_SIGNING_KEY_ID: keyId, HIBARI_SIGNING_KEY: key } = process.env
console.log(accessToken({ keyId, key, channel: "hello", role: ["sendonly", "recvonly"] }))
