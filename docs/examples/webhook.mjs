// Takes webhooks: npm install standardwebhooks, then
// HIBARI_WEBHOOK_SECRET=whsec_… node webhook.mjs
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.HIBARI_WEBHOOK_SECRET);

const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts).toString(); // the bytes as they came: do not parse and write them anew
  try {
    webhook.verify(body, request.headers);
  } catch (error) {
    console.error(`refused: ${error.message}`);
    response.writeHead(401).end(error.message);
    return;
  }
  const event = JSON.parse(body);
  console.log(event.seq, event.type, event.connection_id ?? "");
  response.writeHead(204).end(); // at once; work on it afterwards
});
server.listen(process.env.PORT ?? 3000, () => console.log(`listening on port ${server.address().port}`));
