// A tenant's server that uses the REST API as any program would: with fetch.
import assert from "node:assert/strict"

const { HIBARI: base, KEY: key } = process.env

async function ask(method, path, body, headers = {}) {
  const answer = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body && { "content-type": "application/json" }), ...headers },
    body: body && JSON.stringify(body),
  })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, body: text && answer.headers.get("content-type").includes("json") ? JSON.parse(text) : text }
}

const document = (await ask("GET", "/v1/openapi.json")).body
assert.match(document.openapi, /^3\.1/)

const me = await ask("GET", "/v1/tenant")
assert.equal(me.status, 200)
assert.equal(me.body.role, "admin")

const once = { "idempotency-key": crypto.randomUUID() }
const endpoint = { url: "http://127.0.0.1:9/hook", types: ["connection.created"] }
const first = await ask("POST", "/v1/webhook-endpoints", endpoint, once)
const again = await ask("POST", "/v1/webhook-endpoints", endpoint, once)
assert.equal(first.status, 201)
assert.deepEqual(again.body, first.body)
assert.equal(again.headers.get("idempotency-replayed"), "true")

for (let i = 0; i < 4; i++) await ask("POST", "/v1/bans", { kind: "client", subject: `client ${i}`, ttl: 60 })
const seen = []
let cursor = ""
do {
  const page = await ask("GET", `/v1/bans?limit=3&cursor=${cursor}`)
  seen.push(...page.body.items.map((ban) => ban.subject))
  cursor = page.body.next
} while (cursor)
assert.deepEqual(seen, ["client 3", "client 2", "client 1", "client 0"])

const token = await ask("POST", "/v1/access-tokens", { channel_id: "a/b 雲雀", role: "recvonly" })
assert.equal(token.body.token.split(".").length, 3)

const nobody = await ask("DELETE", `/v1/channels/${encodeURIComponent("a/b 雲雀")}/connections`)
assert.equal(nobody.status, 404)
assert.equal(nobody.headers.get("content-type"), "application/problem+json")
assert.equal(nobody.body.code, "not_found")

const wrong = await ask("PATCH", "/v1/settings", { auth_url: "nowhere", colour: "red" })
assert.equal(wrong.status, 422)
assert.deepEqual(wrong.body.errors.map((e) => e.field), ["colour"])

const usage = await ask("GET", "/v1/usage?group_by=channel", undefined, { accept: "text/csv" })
assert.match(usage.body, /^from,to,time_zone/)
console.log("told")
