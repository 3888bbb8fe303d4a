// A client of the TypeScript SDK 1.x: node ts1_client.mjs URL TOKEN. Orders on stdin, what it saw
// on stdout, one JSON a line; conversation.py says which. Without `timeout`: the SDK's own 60 s.
// With ANSWER_AS in the environment it answers what servers ask, in that name.
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import {
  CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, token] = process.argv.slice(2);
const say = (seen) => process.stdout.write(`${JSON.stringify(seen)}\n`);

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

const calls = new Map();

async function obey({ id, op, call, name, arguments: args, timeout, progress, reset }) {
  if (op === "cancel") {
    calls.get(call)?.abort("The user pressed Escape.");
    return;
  }
  try {
    if (op === "list") {
      const { tools } = await client.listTools();
      say({ id, result: tools.map((tool) => tool.name) });
      return;
    }
    const options = { signal: (calls.set(id, new AbortController()), calls.get(id).signal) };
    if (timeout) options.timeout = timeout * 1000;
    if (progress) options.onprogress = (note) => say({ id, progress: note });
    if (reset) options.resetTimeoutOnProgress = true;
    say({ id, result: await client.callTool({ name, arguments: args }, undefined, options) });
  } catch (error) {
    say({ id, error: `${error.name ?? "Error"}: ${error.message ?? error}` });
  }
}

say({ ready: transport.protocolVersion });
for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line));
process.exit(0);
