// A client of the TypeScript SDK 1.x: node ts1_client.mjs URL TOKEN. Orders on stdin, what it saw
// on stdout, one JSON a line; conversation.py says which. Without `timeout`: the SDK's own 60 s.
// With ANSWER_AS in the environment it answers what servers ask, in that name.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import {
  CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { converse } from "./conversation.mjs";

const [url, token] = process.argv.slice(2);

const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const name = process.env.ANSWER_AS;
const capabilities = name ? { elicitation: {}, sampling: {}, roots: {} } : {};
const client = new Client({ name: "ts1", version: "1" }, { capabilities });
if (name) {
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: "accept", content: { name } }));
  client.setRequestHandler(CreateMessageRequestSchema, () => ({
    role: "assistant", model: "m", content: { type: "text", text: `${name}'s poem` },
  }));
  client.setRequestHandler(ListRootsRequestSchema, () => ({
    roots: [{ uri: `file:///home/${name}` }],
  }));
}
await client.connect(transport);

await converse(client, {
  call: (params, options) => client.callTool(params, undefined, options),
  ready: transport.protocolVersion,
});
